/** Writers: put, patch, delete, replace; into one shard, or as one transaction over several. */
import {
  type CollectionIdentity,
  type RegisteredRun,
  type ShardContent,
  shardRefs,
  writeDeltas,
} from "@silt/core";
import { randomContent } from "../../generators.ts";
import type { Actor } from "../actor.ts";
import type { Simulation } from "../simulation.ts";
import { demand } from "../violation.ts";
import { attempt } from "./operation.ts";

const PAUSE_MS_MAX = 3_000;
const SHARDS_CHANCE = 0.3;

export async function writer(sim: Simulation, actor: Actor): Promise<void> {
  const { ports, random } = actor;
  while (actor.operationsLeft > 0) {
    actor.operationsLeft -= 1;
    await ports.clock.sleep(random.int(PAUSE_MS_MAX));
    const identity = random.pick(sim.identities);
    await write(sim, actor, identity);
  }
}

/** Random operations on a random shard, or on all shards of the collection in one transaction. */
async function write(sim: Simulation, actor: Actor, identity: CollectionIdentity): Promise<void> {
  const { ports, random } = actor;
  const refs = shardRefs(identity);
  const chosen = random.chance(SHARDS_CHANCE) ? refs : [random.pick(refs)];
  const contents = chosen.map(
    ({ shard }): ShardContent => ({ shard, content: randomContent(random), bytes: 100 }),
  );
  const written = await attempt(sim, actor, "write", () => writeDeltas(ports, identity, contents));
  if (written === undefined) return;
  demand(written.outcome === "written", "ERR", "a write without condition met one");
  demand(written.runs.length === contents.length, "I2", "a write acknowledges each of its runs");
  acknowledge(sim, identity, written.runs);
}

/** The writer was told that its runs are durable: from now on the checker takes its word. */
export function acknowledge(
  sim: Simulation,
  identity: CollectionIdentity,
  runs: readonly RegisteredRun[],
): void {
  const refOf = (run: RegisteredRun) => {
    const found = shardRefs(identity).find(({ shard }) => shard === run.shard);
    demand(found !== undefined, "I2", `shard ${run.shard} exists`);
    return found;
  };
  sim.checker.acknowledged(refOf, runs);
}
