import { shardKeyOf, shardOfKey } from "@silt/core";

const SHARD = /^[0-9]+-of-([0-9]+)$/;

/** Says why a shard may not hold a thing, or undefined. */
export interface Placement {
  row(id: string, parent: string | null): string | undefined;
  replaced(parent: string): string | undefined;
}

const ANYWHERE: Placement = { row: () => undefined, replaced: () => undefined };

/**
 * What may lie in `shard`. Everything about an id or a parent lives in one shard that anyone can
 * compute: in another one it would live on beside what replaces or deletes it (F55).
 */
export function placementOf(shard: string): Placement {
  const shards = Number(SHARD.exec(shard)?.[1] ?? 1);
  if (shards === 1) return ANYWHERE;
  const misplaced = (key: string) => {
    const home = shardOfKey(key, shards);
    return home === shard ? undefined : `it belongs to shard ${home}`;
  };
  return {
    row(id, parent) {
      const key = shardKeyOf(id);
      if (parent !== null && key !== parent) return "its id does not begin with its parent";
      return misplaced(key);
    },
    replaced: misplaced,
  };
}
