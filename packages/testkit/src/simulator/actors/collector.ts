/** Collectors: plan, wait, plan again and delete; several of them may be at work at once. */
import { collectShard, type ShardRef } from "@silt/core";
import type { Actor } from "../actor.ts";
import type { Simulation } from "../simulation.ts";
import { attempt } from "./operation.ts";

const PAUSES_MS = [1_000, 5_000, 70_000, 4_000_000] as const;
const PLAN_ONLY_CHANCE = 0.2;

export async function collector(sim: Simulation, actor: Actor): Promise<void> {
  const { random } = actor;
  while (actor.operationsLeft > 0) {
    actor.operationsLeft -= 1;
    await sim.think(actor, random.pick(PAUSES_MS));
    await collect(sim, actor, random.pick(sim.shards), !random.chance(PLAN_ONLY_CHANCE));
  }
}

/** One pass over a shard. */
export async function collect(
  sim: Simulation,
  actor: Actor,
  shard: ShardRef,
  deletes: boolean,
): Promise<void> {
  await attempt(sim, actor, "collect", async () => {
    const identity = sim.identityOf(shard);
    const options = { holder: actor.name, delete: deletes };
    const report = await collectShard(actor.ports, identity, shard, options);
    sim.count("retired", report.retired.length);
    sim.count("deleted", report.deleted.length);
    if (report.fenced) sim.count("fenced");
  });
}
