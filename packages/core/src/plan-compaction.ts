/** Which runs and which of the newest segments to merge: pure, the same state gives the same plan. */
import type {
  CompactionPolicy,
  Exclusion,
  Run,
  SegmentDescriptor,
  SnapshotManifest,
} from "./formats.ts";
import { countRows } from "./row.ts";

export interface CompactionPlan {
  /** The pending runs to apply, a prefix of those given. */
  readonly runs: readonly Run[];
  /** Segments that stay as they are, oldest first. */
  readonly kept: readonly SegmentDescriptor[];
  /** Adjacent newest segments to merge with the runs, oldest first. */
  readonly merged: readonly SegmentDescriptor[];
  readonly bytes: number;
  /** It merges more than its runs need, to keep the shard in shape: that can wait, and the runs need not. */
  readonly deferrable: boolean;
}

export interface PlanOptions {
  /** Leaves out what can wait. */
  readonly defer?: boolean | undefined;
}

/** True while an excluded run may come back. */
export const isOpenExclusion = ({ cause, retriedBy }: Exclusion): boolean =>
  cause === "poison" && retriedBy === null;

/** Tombstones of runs from here on must stay: an excluded run before them may still come back. */
export function openExclusionStart(excluded: readonly Exclusion[]): number | undefined {
  const open = excluded.filter(isOpenExclusion);
  return open.length === 0 ? undefined : Math.min(...open.map((exclusion) => exclusion.from));
}

/** The plan of one pass; undefined when there is nothing to do. */
export function planCompaction(
  manifest: Pick<SnapshotManifest, "segments" | "excluded">,
  pending: readonly Run[],
  policy: CompactionPolicy,
  nowMs: number,
  { defer = false }: PlanOptions = {},
): CompactionPlan | undefined {
  const runs = takeRuns(pending, policy);
  const pendingBytes = runs.reduce((sum, run) => sum + run.delta.bytes, 0);
  const { segments } = manifest;
  const rewrite = !defer && isRewriteDue(manifest, policy, nowMs);
  if (runs.length === 0 && !rewrite) return undefined;
  const least = runs.length === 0 ? 0 : takeSegments(segments, pendingBytes, policy);
  const isWhole = rewrite || (!defer && isOutOfShape(segments, runs, pendingBytes, policy));
  const take = isWhole ? segments.length : least;
  const merged = segments.slice(segments.length - take);
  const bytes = pendingBytes + merged.reduce((sum, segment) => sum + segment.object.bytes, 0);
  const kept = segments.slice(0, segments.length - take);
  return { runs, kept, merged, bytes, deferrable: take > least };
}

function takeRuns(pending: readonly Run[], policy: CompactionPolicy): readonly Run[] {
  let bytes = 0;
  const fits = pending.findIndex((run, index) => {
    bytes += run.delta.bytes;
    return index > 0 && (bytes > policy.bytesMax || index >= policy.runsMax);
  });
  return fits === -1 ? pending : pending.slice(0, fits);
}

/** How many of the newest segments to merge with runs. */
function takeSegments(
  segments: readonly SegmentDescriptor[],
  pendingBytes: number,
  policy: CompactionPolicy,
): number {
  const total = pendingBytes + segments.reduce((sum, segment) => sum + segment.object.bytes, 0);
  if (policy.strategy === "single" || total <= policy.smallBytes) return segments.length;
  let fanOut = policy.fanOut;
  let take = longestGrowing(segments, pendingBytes, fanOut);
  while (segments.length - take + 1 > policy.segmentsMax && fanOut > 1) {
    fanOut = Math.ceil(fanOut / 2);
    take = longestGrowing(segments, pendingBytes, fanOut);
  }
  return take;
}

/** True when the newer segments outgrow the oldest, or hide too much of it. */
function isOutOfShape(
  segments: readonly SegmentDescriptor[],
  runs: readonly Run[],
  pendingBytes: number,
  policy: CompactionPolicy,
): boolean {
  const [oldest, ...younger] = segments;
  if (oldest === undefined) return false;
  const newer = pendingBytes + younger.reduce((sum, segment) => sum + segment.object.bytes, 0);
  return (
    newer > policy.rewriteRatio * oldest.object.bytes ||
    tombstoneShare(segments, runs) > policy.tombstoneRatio
  );
}

/**
 * The longest run of newest segments whose merge grows its largest input at least `fanOut` times:
 * so a row is rewritten at most once per factor of `fanOut`, that is O(log n) times.
 */
function longestGrowing(
  segments: readonly SegmentDescriptor[],
  pendingBytes: number,
  fanOut: number,
): number {
  let total = pendingBytes;
  let largest = 0;
  let take = 0;
  for (const [index, segment] of segments.toReversed().entries()) {
    total += segment.object.bytes;
    largest = Math.max(largest, segment.object.bytes);
    if (largest * fanOut <= total) take = index + 1;
  }
  return take;
}

const tombstonesOf = (part: Pick<SegmentDescriptor, "rows" | "replaced">): number =>
  part.rows.delete + part.rows.patch + part.replaced;

/** Tombstones above the oldest segment, as a share of all rows. */
function tombstoneShare(segments: readonly SegmentDescriptor[], runs: readonly Run[]): number {
  const tombstones = [...segments.slice(1), ...runs].reduce(
    (sum, part) => sum + tombstonesOf(part),
    0,
  );
  const rows = [...segments, ...runs].reduce((sum, part) => sum + countRows(part.rows), 0);
  return tombstones / Math.max(1, rows);
}

/** True when a tombstone is so old that what it hides must really go now, whether runs are pending or not. */
export function isRewriteDue(
  manifest: Pick<SnapshotManifest, "segments" | "excluded">,
  policy: Pick<CompactionPolicy, "tombstoneAgeMs">,
  nowMs: number,
): boolean {
  // What an open exclusion keeps in the oldest segment cannot be rewritten away.
  const held = openExclusionStart(manifest.excluded) !== undefined;
  return manifest.segments
    .slice(held ? 1 : 0)
    .some(
      (segment) =>
        segment.tombstonesSince !== null &&
        Date.parse(segment.tombstonesSince) + policy.tombstoneAgeMs <= nowMs,
    );
}

/** When the oldest tombstone of a merge's output was registered; null when it has none. */
export function tombstonesSinceOf(
  out: Pick<SegmentDescriptor, "rows" | "replaced">,
  merged: readonly SegmentDescriptor[],
  runs: readonly Run[],
): string | null {
  if (tombstonesOf(out) === 0) return null;
  const times = [
    ...merged.map((segment) => segment.tombstonesSince),
    ...runs.filter((run) => tombstonesOf(run) > 0).map((run) => run.registeredAt),
    // A put that a marker killed became a delete of the marker's age.
  ].filter((time) => time !== null);
  return times.sort()[0] ?? null;
}
