import type { ShardProvenance } from "@silt/reader";

/** What an answer was made from: of the one shard, or shard by shard. */
export interface AnswerOrigin {
  readonly collection: string;
  /** Only with one shard. */
  readonly version?: number;
  readonly appliedThrough?: number;
  /** Registered runs that the answer lacks, all shards together. */
  readonly behind: number;
  /** Only with several shards, or when a fresh read was blocked. */
  readonly shards?: readonly ShardProvenance[];
  readonly warnings: readonly string[];
}

/** Pure: what an answer says of where it comes from. */
export function originOf(
  collection: string,
  {
    shards,
    warnings = [],
  }: { readonly shards: readonly ShardProvenance[]; readonly warnings?: readonly string[] },
): AnswerOrigin {
  const behind = shards.reduce((sum, shard) => sum + shard.behind, 0);
  const [only] = shards;
  const { version, appliedThrough } = only as ShardProvenance;
  const single = shards.length === 1 ? { version, appliedThrough } : {};
  const detailed = shards.length > 1 || only?.blockedBy !== undefined ? { shards } : {};
  return { collection, ...single, behind, ...detailed, warnings };
}
