/** I6 and I7 of a world in which everybody has just died: who comes after them finishes, and nothing else stays. */
import {
  collectShard,
  compactShard,
  isSiltError,
  lastGoodRun,
  type Ports,
  pointerKey,
  type SegmentOwner,
  shardPrefix,
  sweepShard,
} from "@silt/core";
import { demand, Violation } from "../simulator/violation.ts";
import type { Perform } from "./call.ts";
import type { Checker } from "./checker.ts";
import type { Prepared } from "./configuration.ts";
import { LeaseCalls } from "./lease-calls.ts";
import type { Vocabulary, World } from "./world.ts";
import { worldPorts } from "./world-ports.ts";

const COLLECTIONS = 3;
const SEED = 9_000;

/** Lets a sweep, compactions and collections run undisturbed from `start`. Throws what they break. */
export async function settle(
  vocabulary: Vocabulary,
  checker: Checker,
  prepared: Prepared,
  start: World,
): Promise<void> {
  const { identity, policy, shard } = prepared;
  let world = new LeaseCalls(vocabulary, () => 0).expired(start, shard);
  let broken: unknown;
  const perform: Perform = async (call) => {
    const step = call.apply(world);
    try {
      checker.observe(world, step.world, call, "who comes after");
    } catch (error) {
      broken ??= error;
    }
    world = step.world;
    return step.value();
  };
  const ports = worldPorts(vocabulary, SEED, perform);
  const sweep = { hintAfterMs: 0, stuckAfterMs: 0, compaction: policy.compaction };
  try {
    await compactAll(checker, ports, prepared, () => world);
    const head = checker.items.head(world, shard);
    const { appliedThrough } = checker.pointerIn(world);
    demand(appliedThrough === head?.sequence, "I7", "runs are left after undisturbed compactions");
    demand(head.excluding === null, "I7", "an announcement is left after a compaction");
    await compactShard(ports, identity, policy, shard, { holder: "after", fence: true });
    await sweepShard(ports, shard, sweep);
    for (let pass = 1; pass <= COLLECTIONS; pass++) {
      await collectShard(ports, identity, shard, { holder: "after", delete: true });
    }
    const owner: SegmentOwner = { ...shard, vectors: identity.vectors };
    await checkLeft(checker, owner, world, ports);
  } catch (error) {
    if (error instanceof Violation || !isSiltError(error)) throw broken ?? error;
    throw broken ?? new Violation("I7", `who comes after cannot go on: ${error.message}`);
  }
  if (broken !== undefined) throw broken;
}

/** As many passes as there are runs, at most; each must take at least one. */
async function compactAll(
  checker: Checker,
  ports: Ports,
  { identity, policy, shard }: Prepared,
  world: () => World,
): Promise<void> {
  for (const _ of checker.runsIn(world())) {
    const { outcome } = await compactShard(ports, identity, policy, shard, { holder: "after" });
    demand(outcome !== "busy" && outcome !== "lost", "I7", `a lone compactor is told: ${outcome}`);
    if (outcome === "nothing-to-do") return;
  }
}

async function checkLeft(
  checker: Checker,
  owner: SegmentOwner,
  world: World,
  ports: Ports,
): Promise<void> {
  const current = checker.chainIn(world).at(-1)?.manifest;
  const canary = current && (await lastGoodRun(ports, owner, current));
  const kept = new Set([
    ...checker.neededIn(world),
    ...(canary === undefined ? [] : [canary.delta.key]),
    ...checker
      .runsIn(world)
      .filter((run) => checker.contentOf(run) === null)
      .map(({ delta }) => delta.key),
    pointerKey(owner),
  ]);
  for (const key of checker.leftIn(world, shardPrefix(owner))) {
    demand(kept.has(key) || key.includes("/plans/"), "I6", `nothing needs ${key}, but it stays`);
  }
}
