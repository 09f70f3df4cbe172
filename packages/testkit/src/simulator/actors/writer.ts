/** Writers: put, patch, delete, replace; into one shard, or as one transaction over several. */
import {
  type CollectionIdentity,
  deleteWhere,
  type RegisteredRun,
  type ShardContent,
  shardRefs,
  writeDeltas,
} from "@silt/core";
import { randomContent } from "../../generators.ts";
import type { Actor } from "../actor.ts";
import type { Matches } from "../checker/decisions.ts";
import { placeContent } from "../place-content.ts";
import type { Simulation } from "../simulation.ts";
import { demand } from "../violation.ts";
import { attempt } from "./operation.ts";
import { type ModelView, openReader, recordsOf } from "./snapshot-model.ts";

const PAUSE_MS_MAX = 3_000;
const SHARDS_CHANCE = 0.3;

export async function writer(sim: Simulation, actor: Actor): Promise<void> {
  const { random } = actor;
  while (actor.operationsLeft > 0) {
    actor.operationsLeft -= 1;
    await sim.think(actor, PAUSE_MS_MAX);
    const identity = random.pick(sim.identities);
    if (random.chance(sim.plan.deleteChance)) await deleteMatching(sim, actor, identity);
    else await write(sim, actor, identity);
  }
}

/** Random operations on a random shard, or on all shards of the collection in one transaction. */
async function write(sim: Simulation, actor: Actor, identity: CollectionIdentity): Promise<void> {
  const { ports, random } = actor;
  const refs = shardRefs(identity);
  const chosen = random.chance(SHARDS_CHANCE) ? refs : [random.pick(refs)];
  const contents = chosen.map(
    ({ shard }): ShardContent => ({
      shard,
      content: placeContent(randomContent(random), shard, identity.shards, random),
      bytes: 100,
    }),
  );
  const written = await attempt(sim, actor, "write", () => writeDeltas(ports, identity, contents));
  if (written === undefined) return;
  demand(written.outcome === "written", "ERR", "a write without condition met one");
  demand(written.runs.length === contents.length, "I2", "a write acknowledges each of its runs");
  acknowledge(sim, identity, written.runs);
}

/** What deletes by filter look for: something rare, something frequent. */
const FILTERS: readonly Matches[] = [
  ({ metadata }) => metadata.shop === "Kino",
  ({ metadata }) => metadata.shop !== undefined,
  ({ metadata }) => metadata.seen === undefined,
];

/** Deletes what matches now, in all shards of a collection; the checker knows what that must be. */
async function deleteMatching(
  sim: Simulation,
  actor: Actor,
  identity: CollectionIdentity,
): Promise<void> {
  const { ports, random } = actor;
  const matches = random.pick(FILTERS);
  const readers = shardRefs(identity).map((shard) => ({
    shard,
    reader: openReader(sim, actor, { ...shard, vectors: identity.vectors }),
  }));
  const views = async () => {
    const seen: ModelView[] = [];
    for (const { shard, reader } of readers) {
      const since = sim.checker.reads.begin(shard);
      const view = await reader.view({ fresh: true });
      sim.checker.reads.answered(shard, view, recordsOf(view), { fresh: true, since, reader });
      seen.push(view);
    }
    return seen;
  };
  const matching = (view: ModelView) =>
    [...recordsOf(view)].filter(([, record]) => matches(record)).map(([id]) => id);
  sim.checker.deletes(actor, matches);
  const runs = await attempt(sim, actor, "delete where", () =>
    deleteWhere(ports, identity, { views, matching }),
  );
  sim.checker.deletes(actor, undefined);
  if (runs !== undefined) acknowledge(sim, identity, runs);
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
