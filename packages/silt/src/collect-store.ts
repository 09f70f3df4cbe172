/** The collector over whole collections. A shard that fails doesn't keep the others from it. */
import {
  type CandidateReason,
  type CollectionIdentity,
  collectShard,
  type ShardRef,
  SiltError,
  shardRefs,
} from "@silt/core";
import { type Failure, failureOf } from "./each-collection.ts";
import type { StoreContext } from "./store-context.ts";
import { formatCounted } from "./terminal/format-counted.ts";

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

/**
 * Plans, and with `delete` carries out what earlier plans named long enough ago. When the signal ends it after
 * something is gone it throws `unavailable`, with the reports of what it did as `shards` in the details.
 */
export async function collectCollection(
  context: Pick<StoreContext, "ports" | "holder">,
  identity: CollectionIdentity,
  options: GcOptions,
): Promise<readonly GcReport[]> {
  const { signal } = options;
  const reports: GcReport[] = [];
  try {
    for (const shard of shardRefs(identity)) {
      signal?.throwIfAborted();
      reports.push(await collectOne(context, identity, shard, options));
    }
    signal?.throwIfAborted();
    return reports;
  } catch (error) {
    throw withWhatIsGone(identity.collection, reports, error);
  }
}

/** What is deleted cannot be told a second time: whoever ends the work learns of it by the error. */
function withWhatIsGone(name: string, shards: readonly GcReport[], cause: unknown): unknown {
  const deleted = shards.reduce((sum, report) => sum + report.deleted.length, 0);
  const retired = shards.reduce((sum, report) => sum + report.retired.length, 0);
  if (deleted === 0 && retired === 0) return cause;
  const done = `it deleted ${formatCounted(deleted, "object")} and gave up ${formatCounted(retired, "version")}`;
  const told = `Cannot collect all of "${name}": told to end after ${done}; the next pass goes on`;
  return new SiltError("unavailable", told, { cause, details: { shards } });
}

/** One pass over a shard. A failure is a part of the report; throws when the signal ends it before anything is gone. */
export async function collectOne(
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
