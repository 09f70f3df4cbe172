import { createHash } from "node:crypto";
import { SiltError } from "./silt-error.ts";

/** The part of an id that decides its shard: up to the last `#`, or all of it. */
export function shardKeyOf(id: string): string {
  const hashAt = id.lastIndexOf("#");
  return hashAt === -1 ? id : id.slice(0, hashAt);
}

/** Name of a shard, e.g. `0-of-4`. */
export function shardName(index: number, shards: number): string {
  return `${index}-of-${shards}`;
}

/** All shard names of a collection with `shards` shards. */
export function shardNames(shards: number): readonly string[] {
  return Array.from({ length: shards }, (_, index) => shardName(index, shards));
}

/** Shard of everything that hangs on `shardKey`: `sha256(shardKey) mod shards`, first 48 bits. */
export function shardOfKey(shardKey: string, shards: number): string {
  if (shards === 1) return shardName(0, 1);
  const digest = createHash("sha256").update(shardKey).digest();
  return shardName(digest.readUIntBE(0, 6) % shards, shards);
}

/** Shard of an id. */
export function shardOf(id: string, shards: number): string {
  return shardOfKey(shardKeyOf(id), shards);
}

/**
 * With several shards a child must be named `parent#suffix`, so that anyone can compute where
 * everything about an id or a parent lives. Throws `invalid` otherwise.
 */
export function checkChildId(id: string, parent: string, shards: number): void {
  if (shards === 1 || shardKeyOf(id) === parent) return;
  throw new SiltError(
    "invalid",
    `Cannot place record "${id}": its parent is "${parent}" and the collection has ${shards} shards, ` +
      `expected an id "${parent}#<suffix>" without another "#" in the suffix`,
  );
}
