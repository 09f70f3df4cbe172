/** The operator: rolls back, pins, unpins, changes the policy, brings excluded runs back. */
import {
  isOpenExclusion,
  openCollection,
  type Policy,
  pinVersion,
  readCurrent,
  retryExcluded,
  rollbackShard,
  type ShardRef,
  unpinVersion,
  updatePolicy,
} from "@silt/core";
import type { Actor } from "../actor.ts";
import { drawPolicy } from "../schedule-plan.ts";
import type { Simulation } from "../simulation.ts";
import { attempt } from "./operation.ts";
import { openReader, recordsOf, touchedIn } from "./snapshot-model.ts";
import { acknowledge } from "./writer.ts";

const PAUSE_MS_MAX = 8_000;
const OWNERS = ["alice", "bob"] as const;
const ROLLBACK_ATTEMPTS_MAX = 4;
const LOOKS_MAX = 20;
const LOOK_AGAIN_MS = 4_000;
/** A backup had the bundle. */
const RESTORE_CHANCE = 0.7;
type Action = "roll back" | "pin" | "unpin" | "policy" | "retry";
const HISTORY_ACTIONS: readonly Action[] = ["roll back", "roll back", "roll back", "pin", "unpin"];
const DECISION_ACTIONS: readonly Action[] = ["retry", "roll back"];
const POISON_ACTIONS: readonly Action[] = ["retry", "retry", "retry", "roll back"];
const ACTIONS: readonly Action[] = ["roll back", "pin", "unpin", "policy", "retry", "retry"];

export async function operator(sim: Simulation, actor: Actor): Promise<void> {
  const { random } = actor;
  while (actor.operationsLeft > 0) {
    actor.operationsLeft -= 1;
    await sim.think(actor, PAUSE_MS_MAX);
    const shard = random.pick(sim.shards);
    const action = random.pick(actionsOf(sim));
    await awaitOccasion(sim, actor, shard, action);
    await act(sim, actor, shard, action);
  }
}

/** Before there is anything to undo or to bring back, an operator looks again a few times. */
async function awaitOccasion(
  sim: Simulation,
  actor: Actor,
  shard: ShardRef,
  action: Action,
): Promise<void> {
  const isDue = () => {
    const { pointer, manifest } = sim.checker.historyOf(shard).current;
    return action === "retry" ? manifest.excluded.some(isOpenExclusion) : pointer.version > 0;
  };
  for (let looks = LOOKS_MAX; looks > 0 && !isDue(); looks--) {
    await sim.think(actor, LOOK_AGAIN_MS);
  }
}

function actionsOf({ plan }: Simulation): readonly Action[] {
  if (plan.theme === "history") return HISTORY_ACTIONS;
  if (plan.theme === "decisions") return DECISION_ACTIONS;
  return plan.theme === "poison" ? POISON_ACTIONS : ACTIONS;
}

async function act(sim: Simulation, actor: Actor, shard: ShardRef, action: Action): Promise<void> {
  const { ports, random } = actor;
  const { version } = sim.checker.historyOf(shard).current.pointer;
  // Mostly a version that there is; also those that the collector may have taken.
  const wanted = Math.max(0, version - 1 - random.int(4));
  switch (action) {
    case "roll back":
      return rollBack(sim, actor, shard, wanted);
    case "pin": {
      const pin = { owner: random.pick(OWNERS), reason: "to look at" };
      await attempt(sim, actor, "pin", () => pinVersion(ports, shard, wanted, pin), ["invalid"]);
      return;
    }
    case "unpin": {
      const pins = sim.checker.deletions.pinsOf(shard);
      const held = pins.length > 0 ? random.pick(pins) : { version: wanted, owner: OWNERS[0] };
      const unpin = () => unpinVersion(ports, shard, held.version, held.owner);
      await attempt(sim, actor, "unpin", unpin, ["invalid"]);
      return;
    }
    case "policy": {
      const { compaction, retention } = drawPolicy(random);
      const change = (policy: Policy) => ({ ...policy, compaction, retention });
      sim.checker.deletions.policyChanges(retention);
      await attempt(sim, actor, "policy", () => updatePolicy(ports, shard.collection, change));
      return;
    }
    case "retry":
      return retry(sim, actor, shard);
  }
}

async function rollBack(
  sim: Simulation,
  actor: Actor,
  shard: ShardRef,
  toVersion: number,
): Promise<void> {
  sim.checker.rollbackAsked(shard, toVersion);
  for (let attempts = ROLLBACK_ATTEMPTS_MAX; attempts > 0; attempts--) {
    const outcome = await rollBackOnce(sim, actor, shard, toVersion);
    sim.count(`rollback: ${outcome}`);
    if (outcome !== "busy") return;
    await sim.think(actor, PAUSE_MS_MAX);
  }
}

async function rollBackOnce(
  sim: Simulation,
  actor: Actor,
  shard: ShardRef,
  toVersion: number,
): Promise<string> {
  const { ports } = actor;
  const roll = async () => {
    const opened = await openCollection(ports, shard.collection);
    if (opened === undefined) return undefined;
    const { identity, policy } = opened;
    const options = { holder: actor.name, toVersion };
    actor.attempts.clear();
    const { outcome } = await rollbackShard(ports, identity, policy, shard, options);
    sim.checker.reported(actor, shard, outcome === "rolled-back" ? "flipped" : outcome);
    return outcome;
  };
  return (await attempt(sim, actor, "roll back", roll, ["invalid"])) ?? "failed";
}

/** Looks for a run that is excluded and may come back, and submits it again. */
async function retry(sim: Simulation, actor: Actor, shard: ShardRef): Promise<void> {
  const { ports, random } = actor;
  const identity = sim.identityOf(shard);
  const done = await attempt(
    sim,
    actor,
    "retry",
    async () => {
      const { manifest } = await readCurrent(ports.objects, shard);
      const { excluded } = manifest;
      const open = excluded.filter(isOpenExclusion);
      if (open.length === 0) return undefined;
      const { from } = random.pick(open);
      if (random.chance(RESTORE_CHANCE)) sim.restoreBundle(shard, from);
      const reader = openReader(sim, actor, { ...shard, vectors: identity.vectors });
      const view = async () => {
        const since = sim.checker.reads.begin(shard);
        const fresh = await reader.view({ fresh: true });
        const how = { fresh: true, since, reader };
        sim.checker.reads.answered(shard, fresh, recordsOf(fresh), how);
        return fresh;
      };
      return retryExcluded(ports, identity, shard, from, { view, touched: touchedIn });
    },
    ["invalid"],
  );
  if (done === undefined) return;
  sim.count("retried");
  acknowledge(sim, identity, [done.run]);
}
