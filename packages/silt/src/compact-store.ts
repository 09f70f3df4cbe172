/** Compaction of whole collections: pass after pass until nothing is pending, shard by shard. */
import {
  type CollectionIdentity,
  compactShard,
  isSiltError,
  type Policy,
  reasonOf,
  type ShardRef,
  type CompactReport as ShardReport,
  type SiltErrorKind,
  shardRefs,
} from "@silt/core";
import type { StoreContext } from "./store-context.ts";

/** What the passes over one shard did, together. */
export interface CompactReport {
  readonly collection: string;
  readonly shard: string;
  readonly outcome: ShardReport["outcome"] | "failed";
  readonly version: number;
  readonly appliedThrough: number;
  readonly rowsIn: number;
  readonly rowsOut: number;
  readonly superseded: number;
  readonly bytesWritten: number;
  readonly ms: number;
  readonly excluded: ShardReport["excluded"];
  /** Who works, when busy. */
  readonly holder?: string;
  /** Why it failed. */
  readonly error?: { readonly kind: SiltErrorKind; readonly message: string };
}

export interface CompactCollectionOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (shard: ShardRef, step: string, done: number, total: number) => void;
}

type CompactContext = Pick<StoreContext, "ports" | "holder">;

/** More passes than this in one call mean that writers are faster than we are: the next call goes on. */
const PASSES_MAX = 1_000;

/** Folds everything pending of one collection. A shard that fails doesn't keep the others from it. */
export async function compactCollection(
  context: CompactContext,
  identity: CollectionIdentity,
  policy: Policy,
  options: CompactCollectionOptions = {},
): Promise<readonly CompactReport[]> {
  const reports: CompactReport[] = [];
  for (const shard of shardRefs(identity)) {
    options.signal?.throwIfAborted();
    reports.push(await compactWhole(context, identity, policy, shard, options));
  }
  return reports;
}

/** Pass after pass over one shard until nothing is pending. A failure is a part of the report. */
export async function compactWhole(
  { ports, holder }: CompactContext,
  identity: CollectionIdentity,
  policy: Policy,
  shard: ShardRef,
  options: CompactCollectionOptions,
): Promise<CompactReport> {
  const { signal, onProgress } = options;
  const start = performance.now();
  let total: CompactReport = {
    collection: shard.collection,
    shard: shard.shard,
    outcome: "nothing-to-do",
    version: 0,
    appliedThrough: 0,
    rowsIn: 0,
    rowsOut: 0,
    superseded: 0,
    bytesWritten: 0,
    ms: 0,
    excluded: [],
  };
  try {
    for (let pass = 1; pass <= PASSES_MAX; pass++) {
      const report = await compactShard(ports, identity, policy, shard, {
        holder,
        ...(signal && { signal }),
        ...(onProgress && {
          onProgress: (step: string, done: number, of: number) => onProgress(shard, step, done, of),
        }),
      });
      total = addPass(total, report);
      if (report.outcome !== "flipped" || report.behind === 0) break;
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    const kind = isSiltError(error) ? error.kind : "internal";
    total = { ...total, outcome: "failed", error: { kind, message: reasonOf(error) } };
  }
  return { ...total, ms: Math.round(performance.now() - start) };
}

function addPass(total: CompactReport, report: ShardReport): CompactReport {
  const { outcome, version, appliedThrough, holder } = report;
  // A later pass that finds nothing, or someone else at work, doesn't undo what was flipped.
  const flipped = total.outcome === "flipped" && outcome !== "flipped";
  return {
    ...total,
    outcome: flipped ? total.outcome : outcome,
    version: Math.max(total.version, version),
    appliedThrough: Math.max(total.appliedThrough, appliedThrough),
    rowsIn: total.rowsIn + report.rowsIn,
    rowsOut: report.outcome === "flipped" ? report.rowsOut : total.rowsOut,
    superseded: total.superseded + report.superseded,
    bytesWritten: total.bytesWritten + report.bytesWritten,
    excluded: [...total.excluded, ...report.excluded],
    ...(holder !== undefined && { holder }),
  };
}
