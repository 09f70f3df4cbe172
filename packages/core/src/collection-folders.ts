/** What lies under `collections/`, found by leaps: one listed key for each folder, however full it is. */
import { COLLECTIONS_PREFIX, deltasPrefix, shardPrefix, snapshotsPrefix } from "./object-keys.ts";
import type { ObjectStore, Ports, ShardRef } from "./ports.ts";

/** After every key that begins with a prefix. */
const pastPrefix = (prefix: string): string => `${prefix}\u{10ffff}`;

/** One key for each group of keys under `prefix`; `groupOf` gives the prefix to leap over, if any. */
async function* leap(
  objects: ObjectStore,
  prefix: string,
  groupOf: (key: string) => string | undefined,
): AsyncGenerator<string> {
  let after = prefix;
  for (;;) {
    const [found] = await objects.list(prefix, { after, limit: 1 });
    if (found === undefined) return;
    yield found.key;
    const group = groupOf(found.key);
    after = group === undefined ? found.key : pastPrefix(group);
  }
}

/** Names of all folders under `collections/`, with or without a `collection.json`; and stray keys. */
export async function* collectionFolders(
  objects: ObjectStore,
): AsyncGenerator<{ readonly name: string } | { readonly stray: string }> {
  const nameOf = (key: string) => {
    const rest = key.slice(COLLECTIONS_PREFIX.length);
    return rest.includes("/") ? rest.slice(0, rest.indexOf("/")) : undefined;
  };
  const folderOf = (key: string) => {
    const name = nameOf(key);
    return name === undefined ? undefined : `${COLLECTIONS_PREFIX}${name}/`;
  };
  for await (const key of leap(objects, COLLECTIONS_PREFIX, folderOf)) {
    const name = nameOf(key);
    yield name === undefined ? { stray: key } : { name };
  }
}

export interface CollectionContents {
  readonly shards: readonly ShardRef[];
  /** Keys outside every shard. */
  readonly others: readonly string[];
}

/** The shards of all incarnations that a collection's folder holds, and its other keys. */
export async function contentsOf(
  objects: ObjectStore,
  collection: string,
): Promise<CollectionContents> {
  const shards: ShardRef[] = [];
  const others: string[] = [];
  const prefix = `${COLLECTIONS_PREFIX}${collection}/`;
  const shardOfKey = (key: string): ShardRef | undefined => {
    const [storeId, folder, shard, ...rest] = key.slice(prefix.length).split("/");
    if (!storeId || folder !== "shards" || !shard || rest.length === 0) return undefined;
    return { collection, storeId, shard };
  };
  const folderOf = (key: string) => {
    const shard = shardOfKey(key);
    return shard && shardPrefix(shard);
  };
  for await (const key of leap(objects, prefix, folderOf)) {
    const shard = shardOfKey(key);
    if (shard === undefined) others.push(key);
    else shards.push(shard);
  }
  return { shards, others };
}

/** False for a shard that only its creation has touched: no run, no bundle, no version after 0. */
export async function wasEverUsed(
  { objects, log }: Pick<Ports, "objects" | "log">,
  shard: ShardRef,
): Promise<boolean> {
  if (((await log.readHead(shard))?.sequence ?? 0) > 0) return true;
  const bundles = await objects.list(deltasPrefix(shard), { limit: 1 });
  if (bundles.length > 0) return true;
  const snapshots = snapshotsPrefix(shard);
  const later = await objects.list(snapshots, { after: pastPrefix(`${snapshots}0-`), limit: 1 });
  return later.length > 0;
}
