import {
  type OpenCollection,
  type Ports,
  readShardStatus,
  type ShardStatus,
  shardRefs,
} from "@silt/core";

export interface CollectionStatus {
  readonly collection: string;
  readonly dimension: number;
  readonly metric: string;
  readonly embedder: string | null;
  readonly policy: string;
  readonly shards: readonly ShardStatus[];
}

/** How a collection is doing, shard by shard. */
export async function statusOf(
  ports: Ports,
  { identity, policy }: OpenCollection,
): Promise<CollectionStatus> {
  const field = identity.vectors[0];
  const shards = await Promise.all(
    shardRefs(identity).map((shard) => readShardStatus(ports, shard)),
  );
  return {
    collection: identity.collection,
    dimension: field?.dimension ?? 0,
    metric: field?.metric ?? "",
    embedder: field?.embedder ?? null,
    policy: policy.compaction.strategy,
    shards,
  };
}
