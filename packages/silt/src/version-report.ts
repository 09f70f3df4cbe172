/** The versions of a collection that are still there, for people. */
import {
  type CollectionIdentity,
  expiredVersions,
  type KnownVersion,
  type Pin,
  type Policy,
  type Ports,
  readHistory,
  type ShardRef,
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
  return {
    shard: shard.shard,
    versions: versions.map((known) =>
      reportOf(known, expired.has(known), known.ref.version === read.pointer.version),
    ),
  };
}

function reportOf(
  { ref, manifest, pins, supersededAt }: KnownVersion,
  expired: boolean,
  current: boolean,
): VersionReport {
  const { stats, excluded, appliedThrough } = manifest;
  const runsOf = (cause: "poison" | "rollback") =>
    excluded
      .filter((exclusion) => exclusion.cause === cause && exclusion.retriedBy === null)
      .reduce((sum, { from, to }) => sum + to - from + 1, 0);
  return {
    version: ref.version,
    commitId: ref.commitId,
    committedAt: stats.committedAt,
    supersededAt,
    appliedThrough,
    rows: stats.rows,
    segments: stats.segments,
    bytes: stats.bytes,
    excluded: runsOf("poison"),
    rolledBack: runsOf("rollback"),
    current,
    pins,
    expired,
  };
}
