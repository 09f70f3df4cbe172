/** The versions of a collection that are still there, for people. */
import {
  type CollectionIdentity,
  type Exclusion,
  expiredVersions,
  type KnownVersion,
  type Pin,
  type Policy,
  type Ports,
  readHistory,
  type ShardRef,
  type SnapshotManifest,
  shardRefs,
} from "@silt/core";

export interface VersionReport {
  readonly version: number;
  readonly commitId: string;
  readonly committedAt: string;
  /** When the next version took its place; null for the current one, and where that is not known any more. */
  readonly supersededAt: string | null;
  readonly appliedThrough: number;
  readonly rows: number;
  readonly segments: number;
  readonly bytes: number;
  /** Runs that it leaves out as poison, and runs that rollbacks have undone. */
  readonly excluded: number;
  readonly rolledBack: number;
  readonly current: boolean;
  /** What made it; null where the version before is gone, so that nobody can tell. */
  readonly made: "creation" | "compaction" | "rollback" | null;
  readonly pins: readonly Pin[];
  /** Beyond retention: the collector takes it once its grace is over. */
  readonly expired: boolean;
}

export interface ShardVersions {
  readonly shard: string;
  /** Newest first. */
  readonly versions: readonly VersionReport[];
}

export interface CollectionVersions {
  readonly collection: string;
  readonly shards: readonly ShardVersions[];
}

/** All versions of a collection that can be read, pinned and rolled back to. */
export async function versionsOf(
  ports: Ports,
  identity: CollectionIdentity,
  policy: Policy,
): Promise<CollectionVersions> {
  const shards = shardRefs(identity).map((shard) => versionsOfShard(ports, shard, policy));
  return { collection: identity.collection, shards: await Promise.all(shards) };
}

async function versionsOfShard(
  ports: Ports,
  shard: ShardRef,
  { retention }: Policy,
): Promise<ShardVersions> {
  const { versions, read } = await readHistory(ports, shard);
  const expired = new Set(expiredVersions(versions, retention, ports.clock.nowMs()));
  const byCommit = new Map(versions.map((known) => [known.ref.commitId, known]));
  return {
    shard: shard.shard,
    versions: versions.map((known) =>
      reportOf(known, {
        expired: expired.has(known),
        current: known.ref.version === read.pointer.version,
        made: madeBy(known, byCommit.get(known.manifest.parent?.commitId ?? "")),
      }),
    ),
  };
}

/** Only a rollback adds to the runs that are rolled back. */
function madeBy(
  { manifest }: KnownVersion,
  parent: KnownVersion | undefined,
): VersionReport["made"] {
  if (manifest.parent === null) return "creation";
  const before = parent && countRuns(parent.manifest, "rollback");
  const after = countRuns(manifest, "rollback");
  if (after === 0 || after === before) return "compaction";
  return before === undefined ? null : "rollback";
}

function countRuns({ excluded }: SnapshotManifest, cause: Exclusion["cause"]): number {
  return excluded
    .filter((exclusion) => exclusion.cause === cause && exclusion.retriedBy === null)
    .reduce((sum, { from, to }) => sum + to - from + 1, 0);
}

function reportOf(
  { ref, manifest, pins, supersededAt }: KnownVersion,
  facts: Pick<VersionReport, "expired" | "current" | "made">,
): VersionReport {
  const { stats, appliedThrough } = manifest;
  return {
    version: ref.version,
    commitId: ref.commitId,
    committedAt: stats.committedAt,
    supersededAt,
    appliedThrough,
    rows: stats.rows,
    segments: stats.segments,
    bytes: stats.bytes,
    excluded: countRuns(manifest, "poison"),
    rolledBack: countRuns(manifest, "rollback"),
    pins,
    ...facts,
  };
}
