/** Compactors: woken by hints and by a schedule of their own; pass after pass until nothing is behind. */
import { compactShard, type Hint, openCollection, type Policy, type ShardRef } from "@silt/core";
import type { Actor } from "../actor.ts";
import type { Simulation } from "../simulation.ts";
import { attempt } from "./operation.ts";

/** Without a hint it looks by itself now and then. */
const PAUSES_MS = [5_000, 60_000, 3_600_000] as const;
const RETRY_MS_MAX = 60_000;
const HINTS_MAX = 2;
const PASSES_MAX = 4;
const UNASKED_CHANCE = 0.25;
const POLICY_CHANCE = 0.15;

export async function compactor(sim: Simulation, actor: Actor): Promise<void> {
  const { ports, random } = actor;
  const policies = new Map<string, Policy>();
  for (;;) {
    await sim.awaitHint(actor, random.int(random.pick(PAUSES_MS)));
    const hints = await attempt(sim, actor, "receive", () => ports.hints.receive(HINTS_MAX));
    const unasked =
      !sim.hintsSuffice && random.chance(UNASKED_CHANCE) ? [random.pick(sim.shards)] : [];
    for (const hint of hints?.length ? hints : unasked) {
      if (random.chance(POLICY_CHANCE)) policies.delete(hint.collection);
      const done = await attempt(sim, actor, "compact", async () => {
        await compactHinted(sim, actor, hint, policies);
        return true;
      });
      // As a queue does: what failed is not tried again at once.
      if (done === undefined) await ports.clock.sleep(random.int(RETRY_MS_MAX));
    }
  }
}

async function compactHinted(
  sim: Simulation,
  actor: Actor,
  hint: Hint,
  policies: Map<string, Policy>,
): Promise<void> {
  const { ports } = actor;
  const identity = sim.identities.find(({ collection }) => collection === hint.collection);
  const shard: ShardRef = hint;
  if (identity === undefined) return;
  let policy = policies.get(hint.collection);
  if (policy === undefined) {
    policy = (await openCollection(ports, hint.collection))?.policy;
    if (policy === undefined) return;
    policies.set(hint.collection, policy);
  }
  for (let pass = 1; pass <= PASSES_MAX; pass++) {
    actor.attempts.clear();
    const report = await compactShard(ports, identity, policy, shard, { holder: actor.name });
    sim.checker.reported(actor, shard, report.outcome);
    sim.count(`compact: ${report.outcome}`);
    if (report.outcome !== "flipped" || report.behind === 0) return;
  }
}
