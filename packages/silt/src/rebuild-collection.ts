import { type CollectionIdentity, type Ports, shardRefs } from "@silt/core";
import { type Failure, failureOf } from "./each-collection.ts";
import { type RebuildOptions, rebuildShard, type ShardRebuild } from "./rebuild-shard.ts";

export type { RebuildOptions } from "./rebuild-shard.ts";

export type RebuildReport =
  | ShardRebuild
  | {
      readonly collection: string;
      /** Null when the collection could not be opened. */
      readonly shard: string | null;
      readonly outcome: "failed";
      readonly error: Failure;
    };

/** Rebuilds every shard of a collection. A shard that fails doesn't keep the others from it. */
export async function rebuildCollection(
  ports: Ports,
  identity: CollectionIdentity,
  options: RebuildOptions,
): Promise<readonly RebuildReport[]> {
  const reports: RebuildReport[] = [];
  for (const shard of shardRefs(identity)) {
    options.signal?.throwIfAborted();
    try {
      reports.push(await rebuildShard(ports, identity, shard, options));
    } catch (error) {
      const failure = failureOf(error, options.signal);
      reports.push(failedRebuild(shard.collection, shard.shard, failure));
    }
  }
  return reports;
}

/** The report of what could not be rebuilt. */
export const failedRebuild = (
  collection: string,
  shard: string | null,
  error: Failure,
): RebuildReport => ({ collection, shard, outcome: "failed", error });
