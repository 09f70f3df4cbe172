/** The sweep of a schedule: hints for what waits too long, and what flips have left undone. */
import { openCollection, type ShardRef, sweepShard } from "@silt/core";
import type { Actor } from "../actor.ts";
import type { Simulation } from "../simulation.ts";
import { attempt } from "./operation.ts";

const PAUSE_MS_MIN = 10_000;
/** It looks less and less often: nobody simulates a quiet night step by step. */
const PAUSE_MS_MAX = 4 * 3600 * 1000;
/** Once faults have stopped, nothing may wait long for it. */
const CALM_PAUSE_MS_MAX = 900_000;

export const sweeper = (sim: Simulation, actor: Actor): Promise<void> =>
  sweep(sim, actor, PAUSE_MS_MAX);

/** The sweep of the time after the faults. */
export const lateSweeper = (sim: Simulation, actor: Actor): Promise<void> =>
  sweep(sim, actor, CALM_PAUSE_MS_MAX);

async function sweep(sim: Simulation, actor: Actor, pauseMsMax: number): Promise<void> {
  const { ports, random } = actor;
  let pauseMs = PAUSE_MS_MIN;
  for (;;) {
    await ports.clock.sleep(random.int(pauseMs));
    for (const shard of sim.shards) {
      await attempt(sim, actor, "sweep", () => sweepOne(actor, shard));
    }
    pauseMs = Math.min(pauseMsMax, pauseMs * 2);
  }
}

async function sweepOne({ ports }: Actor, shard: ShardRef): Promise<void> {
  const opened = await openCollection(ports, shard.collection);
  if (opened === undefined) return;
  const { compaction } = opened.policy;
  await sweepShard(ports, shard, { hintAfterMs: 5_000, stuckAfterMs: 3_600_000, compaction });
}
