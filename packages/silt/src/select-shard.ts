import { type CollectionIdentity, type ShardRef, SiltError, shardRefs } from "@silt/core";

/** The shard of that name; without a name the only one. Throws `invalid` where that is not clear. */
export function selectShard(identity: CollectionIdentity, name: string | undefined): ShardRef {
  const shards = shardRefs(identity);
  const found =
    name === undefined && shards.length === 1
      ? shards[0]
      : shards.find(({ shard }) => shard === name);
  if (found !== undefined) return found;
  const names = shards.map(({ shard }) => shard).join(", ");
  const state =
    name === undefined
      ? `it has ${shards.length} shards, each with versions of its own; name one with --shard (${names})`
      : `it has no shard "${name}"; there are ${names}`;
  throw new SiltError("invalid", `Cannot choose a version of "${identity.collection}": ${state}`);
}
