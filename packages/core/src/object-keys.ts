import type { ShardRef } from "./ports.ts";

const ROOT = "collections";

export const COLLECTIONS_PREFIX = `${ROOT}/`;

export const collectionKey = (collection: string): string =>
  `${ROOT}/${collection}/collection.json`;

export const policyKey = (collection: string): string => `${ROOT}/${collection}/policy.json`;

/** Everything of one shard of one incarnation of a collection. */
export const shardPrefix = (shard: ShardRef): string =>
  `${ROOT}/${shard.collection}/${shard.storeId}/shards/${shard.shard}/`;

export const pointerKey = (shard: ShardRef): string => `${shardPrefix(shard)}latest-pointer.json`;

export const deltasPrefix = (shard: ShardRef): string => `${shardPrefix(shard)}deltas/`;

export const deltaKey = (shard: ShardRef, runId: string): string =>
  `${deltasPrefix(shard)}${runId}.tar`;

export const snapshotsPrefix = (shard: ShardRef): string => `${shardPrefix(shard)}snapshots/`;

/** The prefix that one attempt at one version writes under; never used again. */
export const versionPrefix = (shard: ShardRef, version: number, commitId: string): string =>
  `${snapshotsPrefix(shard)}${version}-${commitId}/`;

export const manifestKey = (shard: ShardRef, version: number, commitId: string): string =>
  `${versionPrefix(shard, version, commitId)}manifest.json`;

export const segmentKey = (
  shard: ShardRef,
  version: number,
  commitId: string,
  range: { readonly firstSequence: number; readonly lastSequence: number },
): string =>
  `${versionPrefix(shard, version, commitId)}${range.firstSequence}-${range.lastSequence}.sqlite`;

/** `<collection>/<storeId>/<shard>`: the log partition of a shard. */
export const shardPartition = (shard: ShardRef): string =>
  `${shard.collection}/${shard.storeId}/${shard.shard}`;

/** Plans of the collector. */
export const plansPrefix = (shard: ShardRef): string => `${shardPrefix(shard)}plans/`;

export const planKey = (shard: ShardRef, planId: string): string =>
  `${plansPrefix(shard)}${planId}.json`;

/** The run id of a bundle's key; undefined when it is none. */
export function runIdOfKey(shard: ShardRef, key: string): string | undefined {
  const prefix = deltasPrefix(shard);
  const name = key.startsWith(prefix) ? key.slice(prefix.length) : "";
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tar$/.test(name)
    ? name.slice(0, -".tar".length)
    : undefined;
}

/** The version that an object under `snapshots/` was written for; undefined when its key is none of ours. */
export function versionOfKey(
  shard: ShardRef,
  key: string,
): { readonly version: number; readonly commitId: string } | undefined {
  const prefix = snapshotsPrefix(shard);
  if (!key.startsWith(prefix)) return undefined;
  const [, version, commitId] =
    /^(\d{1,15})-([0-9a-f]{16})\/[^/]+$/.exec(key.slice(prefix.length)) ?? [];
  if (version === undefined || commitId === undefined) return undefined;
  return { version: Number(version), commitId };
}
