/** What all fuzz targets work on, and what holds for each of their cases. */
import { type SegmentOwner, shardRefs, uuidV7, type Workbench } from "@silt/core";
import type { SeededRandom } from "@silt/testkit";
import { type SoundDelta, soundDelta } from "./forge-delta.ts";
import { type HostileWorld, openHostileWorld } from "./hostile-world.ts";

export interface FuzzArena extends AsyncDisposable {
  readonly world: HostileWorld;
  readonly workbench: Workbench;
  readonly owner: SegmentOwner;
  readonly runId: string;
  readonly sound: SoundDelta;
}

/** One case: throws what is wrong, or names how it ended, for the totals. */
export type FuzzTarget = (random: SeededRandom, arena: FuzzArena) => Promise<string>;

export async function openFuzzArena(): Promise<FuzzArena> {
  const stack = new AsyncDisposableStack();
  const world = stack.use(await openHostileWorld());
  const workbench = stack.use(await world.store.context.ports.engine.openWorkbench());
  const { identity } = await world.store.collection("notes");
  await world.store.collection("inbox", { dimension: 2 });
  const [shard] = shardRefs(identity);
  if (shard === undefined) throw new Error("no shard");
  const owner: SegmentOwner = { ...shard, vectors: identity.vectors };
  const runId = uuidV7(Date.UTC(2026, 0, 1), new Uint8Array(16));
  const sound = await soundDelta(workbench, owner, runId);
  return {
    world,
    workbench,
    owner,
    runId,
    sound,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export function insist(holds: boolean, claim: string): asserts holds {
  if (!holds) throw new Error(claim);
}
