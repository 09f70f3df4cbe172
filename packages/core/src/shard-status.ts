/** How a shard is doing, from its pointer, manifest and log. Reads only. */
import type { Exclusion, Pointer, Run, SnapshotManifest } from "./formats.ts";
import { isOpenExclusion } from "./plan-compaction.ts";
import type { Head, Ports, ShardRef } from "./ports.ts";
import { checkBelongTogether } from "./shard-state.ts";
import { readCurrent } from "./snapshot-pointer.ts";

export interface ShardStatus {
  readonly shard: string;
  readonly version: number;
  readonly commitId: string;
  readonly appliedThrough: number;
  /** The last sequence number given out. */
  readonly head: number;
  /** Registered runs that the version lacks. */
  readonly pending: number;
  /** Runs that the version leaves out as poison and that did not come back. */
  readonly excluded: number;
  /** Runs that rollbacks have undone. */
  readonly rolledBack: number;
  readonly rows: number;
  readonly segments: number;
  readonly bytes: number;
  readonly oldestPendingSeconds: number | null;
  /** Null before the first flip. */
  readonly secondsSinceFlip: number | null;
  readonly exclusions: readonly Exclusion[];
}

const countRuns = (exclusions: readonly Exclusion[]): number =>
  exclusions.reduce((sum, { from, to }) => sum + to - from + 1, 0);

/** Throws `corrupt` when log and objects don't belong together. */
export async function readShardStatus(ports: Ports, shard: ShardRef): Promise<ShardStatus> {
  const applied = await ports.log.readApplied(shard);
  const { pointer, manifest } = await readCurrent(ports.objects, shard);
  const head = await ports.log.readHead(shard);
  checkBelongTogether(shard, pointer, head, applied?.version ?? 0);
  const [oldest] = await ports.log.readRuns(shard, { after: pointer.appliedThrough, limit: 1 });
  return statusOf(shard, { pointer, manifest, head, oldest }, ports.clock.nowMs());
}

/** What a status is told from. */
export interface SeenShard {
  readonly pointer: Pointer;
  readonly manifest: SnapshotManifest;
  readonly head: Head;
  /** The oldest pending run. */
  readonly oldest: Run | undefined;
}

/** Pure: how a shard is doing, for those who have read it already. */
export function statusOf(
  { shard }: ShardRef,
  { pointer, manifest, head, oldest }: SeenShard,
  nowMs: number,
): ShardStatus {
  const { version, commitId, appliedThrough, committedAt } = pointer;
  const secondsSince = (iso: string) => Math.max(0, (nowMs - Date.parse(iso)) / 1000);
  const open = manifest.excluded.filter(isOpenExclusion);
  const rolledBack = manifest.excluded.filter(({ cause }) => cause === "rollback");
  return {
    shard,
    version,
    commitId,
    appliedThrough,
    head: head.sequence,
    pending: head.sequence - appliedThrough,
    excluded: countRuns(open),
    rolledBack: countRuns(rolledBack),
    rows: manifest.stats.rows,
    segments: manifest.stats.segments,
    bytes: manifest.stats.bytes,
    oldestPendingSeconds: oldest === undefined ? null : secondsSince(oldest.registeredAt),
    secondsSinceFlip: version === 0 ? null : secondsSince(committedAt),
    exclusions: manifest.excluded,
  };
}
