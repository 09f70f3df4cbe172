/**
 * Plans of the collector: what is no longer needed, and since when. A plan is stored before anything is
 * deleted, and its time is the store's, not that of the machine that made it. A later plan carries on
 * what earlier ones saw, so that a collector that died, or a second one, only makes things slower.
 */
import {
  type CandidateReason,
  type CollectorPlan,
  encodeJson,
  FORMAT,
  type ObjectRef,
  parseCollectorPlan,
  seal,
  sha256Of,
} from "./formats.ts";
import { uuidV7 } from "./ids.ts";
import { planKey, plansPrefix } from "./object-keys.ts";
import type { Ports, ShardRef } from "./ports.ts";
import { storeImmutable } from "./publish-delta.ts";
import { isSiltError, SiltError } from "./silt-error.ts";

/** A plan names at most so many objects; the rest waits for the next one. */
export const CANDIDATES_MAX = 10_000;
export const PLAN_BYTES_MAX = 16 * 1024 * 1024;
const PLANS_MAX = 100;

/** An object that nothing needs, as far as one look can tell. */
export interface Candidate {
  readonly key: string;
  readonly bytes: number;
  readonly why: CandidateReason;
}

export interface PlannedCandidate extends Candidate {
  /** When a plan first named it, by the store's clock. */
  readonly sinceMs: number;
}

export interface StoredPlan {
  readonly planId: string;
  /** The store's time when the plan was stored. */
  readonly storedAtMs: number;
  readonly candidates: readonly PlannedCandidate[];
}

/** What earlier plans say of a shard: when each key was first named. Unreadable plans say nothing. */
export interface EarlierPlans {
  readonly keys: readonly string[];
  readonly sinceMs: ReadonlyMap<string, number>;
}

export async function readPlans(ports: Ports, shard: ShardRef): Promise<EarlierPlans> {
  const listed = await ports.objects.list(plansPrefix(shard), { limit: PLANS_MAX });
  const sinceMs = new Map<string, number>();
  for (const { key, modifiedAtMs } of listed) {
    const plan = await readPlan(ports, key);
    for (const candidate of plan?.candidates ?? []) {
      const since = candidate.sinceMs ?? modifiedAtMs;
      sinceMs.set(candidate.key, Math.min(since, sinceMs.get(candidate.key) ?? since));
    }
  }
  return { keys: listed.map(({ key }) => key), sinceMs };
}

async function readPlan(ports: Ports, key: string): Promise<CollectorPlan | undefined> {
  const found = await ports.objects.get(key, { bytesMax: PLAN_BYTES_MAX });
  // Another collector has replaced it by its own.
  if (found.outcome !== "found") return undefined;
  try {
    return parseCollectorPlan(found.bytes, `plan "${key}"`);
  } catch (error) {
    if (!isSiltError(error)) throw error;
    // What only that plan knew starts to wait anew; `verify` names the damage.
    ports.logger.log("warn", "plan of the collector is damaged", { key, error: error.message });
    return undefined;
  }
}

/** Stores a plan, and reads from the store when that was. */
export async function storePlan(
  ports: Ports,
  shard: ShardRef,
  candidates: readonly Candidate[],
  earlier: EarlierPlans,
): Promise<StoredPlan> {
  const planId = uuidV7(ports.clock.nowMs(), ports.random.bytes(16));
  const plan: CollectorPlan = seal({
    format: FORMAT as 1,
    requires: [],
    kind: "collector-plan" as const,
    collection: shard.collection,
    storeId: shard.storeId,
    shard: shard.shard,
    planId,
    candidates: candidates.map(({ key, why }) => ({
      key,
      why,
      sinceMs: earlier.sinceMs.get(key) ?? null,
    })),
  });
  const bytes = encodeJson(plan);
  const key = planKey(shard, planId);
  const ref: ObjectRef = { key, bytes: bytes.byteLength, sha256: sha256Of(bytes), codec: "none" };
  await storeImmutable(ports.objects, ref, { kind: "bytes", bytes });
  const head = await ports.objects.head(key);
  if (head.outcome === "absent") {
    throw new SiltError(
      "unavailable",
      `Cannot collect "${shard.collection}" ${shard.shard}: another collector took the plan away; try again`,
    );
  }
  const storedAtMs = head.modifiedAtMs;
  return {
    planId,
    storedAtMs,
    candidates: candidates.map((candidate) => ({
      ...candidate,
      sinceMs: earlier.sinceMs.get(candidate.key) ?? storedAtMs,
    })),
  };
}
