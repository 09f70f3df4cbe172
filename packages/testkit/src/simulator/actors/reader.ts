/**
 * Readers: the newest version, or fresh with what is pending, or an old version; each answer is held
 * against the model.
 */
import { type ShardReader, type ShardRef, shardPartition } from "@silt/core";
import type { Actor } from "../actor.ts";
import type { Simulation } from "../simulation.ts";
import { attempt } from "./operation.ts";
import { openReader, recordsOf, type SnapshotModel } from "./snapshot-model.ts";

const PAUSE_MS_MAX = 4_000;
const FRESH_CHANCE = 0.5;
const OLD_CHANCE = 0.15;
const REOPEN_CHANCE = 0.2;

export async function reader(sim: Simulation, actor: Actor): Promise<void> {
  const { random } = actor;
  const readers = new Map<string, ShardReader<SnapshotModel>>();
  while (actor.operationsLeft > 0) {
    actor.operationsLeft -= 1;
    await sim.think(actor, PAUSE_MS_MAX);
    const shard = random.pick(sim.shards);
    const key = shardPartition(shard);
    const vectors = sim.identityOf(shard).vectors;
    if (random.chance(REOPEN_CHANCE)) readers.delete(key);
    const open = readers.get(key) ?? openReader(sim, actor, { ...shard, vectors });
    readers.set(key, open);
    if (random.chance(OLD_CHANCE)) await readOld(sim, actor, open, shard);
    else await readNewest(sim, actor, open, shard, random.chance(FRESH_CHANCE));
  }
}

/** One answer, checked; also what a decision is based on. */
export async function readNewest(
  sim: Simulation,
  actor: Actor,
  open: ShardReader<SnapshotModel>,
  shard: ShardRef,
  fresh: boolean,
): Promise<void> {
  const name = fresh ? "read fresh" : "read";
  await attempt(sim, actor, name, async () => {
    const since = sim.checker.reads.begin(shard);
    using view = await open.view({ fresh });
    sim.checker.reads.answered(shard, view, recordsOf(view), { fresh, since, reader: open });
  });
}

async function readOld(
  sim: Simulation,
  actor: Actor,
  open: ShardReader<SnapshotModel>,
  shard: ShardRef,
): Promise<void> {
  const { version } = sim.checker.historyOf(shard).current.pointer;
  const wanted = actor.random.int(version + 1);
  await attempt(
    sim,
    actor,
    "read old",
    async () => {
      using view = await open.view({ version: wanted });
      sim.checker.reads.answeredOld(shard, view, recordsOf(view), wanted);
    },
    ["invalid"],
  );
}
