/** Manifests of a long chain, which names each one only in the next: fetched before they are asked for. */
import { manifestKey, snapshotsPrefix } from "./object-keys.ts";
import type { ObjectStore, ShardRef } from "./ports.ts";

type GetObject = ObjectStore["get"];

/** Manifests under way at once; they are small, but for a shard of very many segments. */
const AHEAD_MAX = 16;
const FOLDER = /^(\d{1,15})-([0-9a-f]{16})$/;

/** `get()` of the shard's manifests, newest first, some ahead; anything else is fetched when it is asked for. */
export async function manifestsAhead(
  objects: Pick<ObjectStore, "get" | "listFolders">,
  shard: ShardRef,
): Promise<GetObject> {
  const keys = await manifestKeys(objects, shard);
  const indexOf = new Map(keys.map((key, index) => [key, index]));
  const underWay = new Map<string, ReturnType<GetObject>>();
  let next = 0;
  return async (key, options) => {
    const index = indexOf.get(key);
    if (index === undefined) return objects.get(key, options);
    // Those that were passed over are of attempts that lost.
    for (const early of underWay.keys()) {
      if ((indexOf.get(early) as number) < index) underWay.delete(early);
    }
    next = Math.max(next, index);
    while (next < keys.length && next < index + AHEAD_MAX) {
      const ahead = keys[next++] as string;
      const found = objects.get(ahead, options);
      // Whoever asks for it is told; when nobody does, nobody needs to know.
      found.catch(() => {});
      underWay.set(ahead, found);
    }
    const found = underWay.get(key) ?? objects.get(key, options);
    underWay.delete(key);
    return found;
  };
}

/** Of all versions and attempts that have objects, the highest version first. */
async function manifestKeys(
  objects: Pick<ObjectStore, "listFolders">,
  shard: ShardRef,
): Promise<readonly string[]> {
  const versions = (await objects.listFolders(snapshotsPrefix(shard))).flatMap((name) => {
    const [, version, commitId] = FOLDER.exec(name) ?? [];
    return version === undefined || commitId === undefined
      ? []
      : [{ version: Number(version), commitId }];
  });
  return versions
    .toSorted((a, b) => b.version - a.version)
    .map(({ version, commitId }) => manifestKey(shard, version, commitId));
}
