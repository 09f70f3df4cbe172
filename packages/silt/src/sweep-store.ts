/** What a schedule runs over whole collections. A shard that fails doesn't keep the others from it. */
import {
  type Lease,
  type OpenCollection,
  type ShardRef,
  type SweepReport as ShardSweep,
  shardRefs,
  sweepShard,
} from "@silt/core";
import { type CompactReport, compactWhole } from "./compact-store.ts";
import { type Failure, failureOf } from "./each-collection.ts";
import type { StoreContext } from "./store-context.ts";

export interface SweepOptions {
  readonly collection?: string | undefined;
  /** Pending runs older than this are hinted at; default one minute. */
  readonly hintAfterMs?: number | undefined;
  /** Pending runs older than this are stuck; default one hour. */
  readonly stuckAfterMs?: number | undefined;
  /** Compact at once what is hinted at: for those who run nothing else that would. */
  readonly compact?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SweepReport {
  readonly collection: string;
  /** Null when the collection could not be opened. */
  readonly shard: string | null;
  /** Null when the shard could not be read. */
  readonly version: number | null;
  readonly pending: number | null;
  readonly oldestPendingSeconds: number | null;
  /** Runs that the version leaves out as poison and that did not come back. */
  readonly excluded: number | null;
  /** Null before the first flip, too. */
  readonly secondsSinceFlip: number | null;
  /** A compaction is due: runs wait, an exclusion is announced, or deleted data must go. */
  readonly hinted: boolean;
  /** `APPLIED` was behind the pointer: whoever flipped last died before noting it. */
  readonly notedVersion: number | null;
  /** Versions that a rollback no longer holds. */
  readonly unpinned: readonly number[];
  /** Who compacts, or did when it died. */
  readonly lease: {
    readonly holder: string;
    readonly epoch: number;
    readonly expiresAt: string;
  } | null;
  /** Why the oldest pending run was not applied in time; null when nothing is stuck. */
  readonly stuck: string | null;
  /** Null when nothing was compacted. */
  readonly compacted: CompactReport | null;
  /** Why the sweep of this shard failed. */
  readonly error?: Failure;
}

export const HINT_AFTER_MS = 60_000;
export const STUCK_AFTER_MS = 3_600_000;

/** Sweeps every shard of a collection. */
export async function sweepCollection(
  context: Pick<StoreContext, "ports" | "holder">,
  opened: OpenCollection,
  options: SweepOptions,
): Promise<readonly SweepReport[]> {
  const reports: SweepReport[] = [];
  for (const shard of shardRefs(opened.identity)) {
    options.signal?.throwIfAborted();
    reports.push(await sweepOne(context, opened, shard, options));
  }
  return reports;
}

/** Sweeps one shard. A failure is a part of the report. */
export async function sweepOne(
  context: Pick<StoreContext, "ports" | "holder">,
  { identity, policy }: OpenCollection,
  shard: ShardRef,
  options: SweepOptions,
): Promise<SweepReport> {
  const { hintAfterMs = HINT_AFTER_MS, stuckAfterMs = STUCK_AFTER_MS, signal } = options;
  const limits = { hintAfterMs, stuckAfterMs, compaction: policy.compaction };
  try {
    const swept = await sweepShard(context.ports, shard, limits);
    if (options.compact !== true || !swept.hinted) return reportOf(swept, null);
    const compacted = await compactWhole(context, identity, policy, shard, { signal });
    // What the sweep has done is told; what waits and is stuck, as it is now.
    const now = await sweepShard(context.ports, shard, limits);
    const { hinted, notedVersion, unpinned } = swept;
    return reportOf({ ...now, hinted, notedVersion, unpinned }, compacted);
  } catch (error) {
    return failedSweep(shard.collection, shard.shard, failureOf(error, signal));
  }
}

/** The report of what could not be swept. */
export function failedSweep(collection: string, shard: string | null, error: Failure): SweepReport {
  return {
    collection,
    shard,
    version: null,
    pending: null,
    oldestPendingSeconds: null,
    excluded: null,
    secondsSinceFlip: null,
    hinted: false,
    notedVersion: null,
    unpinned: [],
    lease: null,
    stuck: null,
    compacted: null,
    error,
  };
}

function reportOf(swept: ShardSweep, compacted: CompactReport | null): SweepReport {
  const { lease } = swept;
  return {
    collection: swept.collection,
    shard: swept.shard,
    version: swept.version,
    pending: swept.pending,
    oldestPendingSeconds: swept.oldestPendingSeconds,
    excluded: swept.excluded,
    secondsSinceFlip: swept.secondsSinceFlip,
    hinted: swept.hinted,
    notedVersion: swept.notedVersion,
    unpinned: swept.unpinned,
    lease: lease === undefined ? null : leaseOf(lease),
    stuck: swept.stuck,
    compacted,
  };
}

const leaseOf = ({ holder, epoch, expiresAtMs }: Lease) => ({
  holder,
  epoch,
  expiresAt: new Date(expiresAtMs).toISOString(),
});
