/** The collector over whole collections. A shard that fails doesn't keep the others from it. */
import {
  type CandidateReason,
  type CollectionIdentity,
  collectShard,
  type ShardRef,
  shardRefs,
} from "@silt/core";
import { type Failure, failureOf } from "./each-collection.ts";
import type { StoreContext } from "./store-context.ts";

/** An object that nothing needs. */
export interface GcCandidate {
  readonly key: string;
  readonly bytes: number;
  readonly why: CandidateReason;
  /** When a plan first named it, by the store's clock. */
  readonly since: string;
  /** Its grace is over. */
  readonly ripe: boolean;
  readonly ripeAt: string;
}

export interface GcReport {
  readonly collection: string;
  /** Null when the collection could not be opened. */
  readonly shard: string | null;
  readonly planId: string | null;
  readonly candidates: readonly GcCandidate[];
  readonly deleted: readonly {
    readonly key: string;
    readonly bytes: number;
    readonly why: CandidateReason;
  }[];
  /** Versions that this pass gave up. */
  readonly retired: readonly number[];
  /** Run ids of bundles that no writer may register any more. */
  readonly abandoned: number;
  /** A flip that changes nothing was needed to tell leftovers from work. */
  readonly fenced: boolean;
  /** Why it failed; nothing is half done then. */
  readonly error?: Failure;
}

export interface GcOptions {
  /** Default false: plan, and delete nothing. */
  readonly delete?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Plans, and with `delete` carries out what earlier plans named long enough ago. */
export async function collectCollection(
  context: Pick<StoreContext, "ports" | "holder">,
  identity: CollectionIdentity,
  options: GcOptions,
): Promise<readonly GcReport[]> {
  const reports: GcReport[] = [];
  for (const shard of shardRefs(identity)) {
    options.signal?.throwIfAborted();
    reports.push(await collectOne(context, identity, shard, options));
  }
  options.signal?.throwIfAborted();
  return reports;
}

async function collectOne(
  { ports, holder }: Pick<StoreContext, "ports" | "holder">,
  identity: CollectionIdentity,
  shard: ShardRef,
  options: GcOptions,
): Promise<GcReport> {
  const { signal } = options;
  const names = { collection: shard.collection, shard: shard.shard };
  try {
    const remove = options.delete === true;
    const report = await collectShard(ports, identity, shard, { holder, delete: remove, signal });
    const { planId, candidates, deleted, retired, abandoned, fenced, graceMs } = report;
    return {
      ...names,
      planId,
      candidates: candidates.map(({ key, bytes, why, sinceMs, ripe }) => ({
        key,
        bytes,
        why,
        since: new Date(sinceMs).toISOString(),
        ripe,
        ripeAt: new Date(sinceMs + graceMs).toISOString(),
      })),
      deleted: deleted.map(({ key, bytes, why }) => ({ key, bytes, why })),
      retired,
      abandoned,
      fenced,
    };
  } catch (error) {
    return failedGc(shard.collection, shard.shard, failureOf(error, signal));
  }
}

/** The report of what could not be collected. */
export function failedGc(collection: string, shard: string | null, error: Failure): GcReport {
  const nothing = { planId: null, candidates: [], deleted: [], retired: [], abandoned: 0 };
  return { collection, shard, ...nothing, fenced: false, error };
}
