/** Reading the pointer and its manifest, and the one compare-and-swap that commits: the flip. */
import {
  ANCESTORS_MAX,
  encodeJson,
  type Pointer,
  parseManifest,
  parsePointer,
  type SnapshotManifest,
  sha256Of,
} from "./formats.ts";
import { pointerKey, shardPartition } from "./object-keys.ts";
import type { ObjectStore, Ports, ShardRef } from "./ports.ts";
import { isSiltError, SiltError } from "./silt-error.ts";

export const POINTER_BYTES_MAX = 256 * 1024;
export const MANIFEST_BYTES_MAX = 64 * 1024 * 1024;
const FLIP_ATTEMPTS_MAX = 8;
const FLIP_PAUSE_MS = 50;

export interface ReadPointer {
  readonly pointer: Pointer;
  readonly etag: string;
}

/** The pointer of a shard; undefined when it still is the one with ETag `ifNoneMatch`. */
export async function readPointer(objects: ObjectStore, shard: ShardRef): Promise<ReadPointer>;
export async function readPointer(
  objects: ObjectStore,
  shard: ShardRef,
  ifNoneMatch: string | undefined,
): Promise<ReadPointer | undefined>;
export async function readPointer(
  objects: ObjectStore,
  shard: ShardRef,
  ifNoneMatch?: string,
): Promise<ReadPointer | undefined> {
  const key = pointerKey(shard);
  const found = await objects.get(key, {
    bytesMax: POINTER_BYTES_MAX,
    ...(ifNoneMatch === undefined ? {} : { ifNoneMatch }),
  });
  if (found.outcome === "unchanged") return undefined;
  if (found.outcome === "absent") {
    // Creation writes version 0, so a missing pointer is always a loss, never "start empty".
    throw new SiltError(
      "corrupt",
      `Cannot read pointer "${key}": it is gone; restore it from a backup, or run "silt verify"`,
    );
  }
  const pointer = parsePointer(found.bytes, `pointer "${key}"`);
  const mine =
    pointer.storeId === shard.storeId &&
    pointer.collection === shard.collection &&
    pointer.shard === shard.shard;
  if (!mine) {
    throw new SiltError(
      "corrupt",
      `Cannot use pointer "${key}": it belongs to ${pointer.collection}/${pointer.storeId}/${pointer.shard}`,
    );
  }
  return { pointer, etag: found.etag };
}

/** The manifest that a pointer names; undefined when it is gone, which a newer pointer may explain. */
export async function findManifest(
  objects: ObjectStore,
  pointer: Pointer,
): Promise<SnapshotManifest | undefined> {
  const { key, sha256 } = pointer.manifest;
  const found = await objects.get(key, { bytesMax: MANIFEST_BYTES_MAX });
  if (found.outcome !== "found") return undefined;
  if (sha256Of(found.bytes) !== sha256) {
    throw new SiltError(
      "corrupt",
      `Cannot use manifest "${key}": its hash is not the one in the pointer`,
    );
  }
  const manifest = parseManifest(found.bytes, `manifest "${key}"`);
  const fields = [
    "storeId",
    "collection",
    "shard",
    "version",
    "commitId",
    "epoch",
    "appliedThrough",
    "runsHash",
  ] as const;
  const differs = fields.find((field) => manifest[field] !== pointer[field]);
  if (differs !== undefined) {
    throw new SiltError(
      "corrupt",
      `Cannot use manifest "${key}": its ${differs} is not the pointer's`,
    );
  }
  return manifest;
}

/** {@link findManifest} for those who hold the lease or need no other version. */
export async function readManifest(
  objects: ObjectStore,
  pointer: Pointer,
): Promise<SnapshotManifest> {
  const manifest = await findManifest(objects, pointer);
  if (manifest !== undefined) return manifest;
  throw new SiltError(
    "corrupt",
    `Cannot open version ${pointer.version}: the pointer names manifest "${pointer.manifest.key}", but it is gone`,
  );
}

const CURRENT_ATTEMPTS_MAX = 5;

/** Pointer and manifest of the current version. One that is collected while we read is read anew (F43). */
export async function readCurrent(
  objects: ObjectStore,
  shard: ShardRef,
): Promise<ReadPointer & { readonly manifest: SnapshotManifest }> {
  let read = await readPointer(objects, shard);
  for (let attempt = 1; attempt < CURRENT_ATTEMPTS_MAX; attempt++) {
    const manifest = await findManifest(objects, read.pointer);
    if (manifest !== undefined) return { ...read, manifest };
    const newer = await readPointer(objects, shard);
    if (newer.etag === read.etag) break;
    read = newer;
  }
  return { ...read, manifest: await readManifest(objects, read.pointer) };
}

/**
 * What looks like damage to somebody whose base is no longer current may be what the collector took:
 * such a `corrupt` becomes `fenced`, a lost race.
 */
export async function unlessOvertaken<T>(
  objects: ObjectStore,
  shard: ShardRef,
  base: Pick<ReadPointer, "etag">,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isSiltError(error, "corrupt")) throw error;
    const { pointer, etag } = await readPointer(objects, shard);
    if (etag === base.etag) throw error;
    throw new SiltError(
      "fenced",
      `Cannot go on with "${shardPartition(shard)}": another compactor made version ${pointer.version} meanwhile`,
      { cause: error },
    );
  }
}

export type FlipOutcome =
  | { readonly outcome: "committed" }
  /** Another writer committed this version. */
  | { readonly outcome: "lost"; readonly to: Pointer }
  /** So many versions later that nobody remembers whether ours was among them: delete nothing. */
  | { readonly outcome: "unknown" }
  | { readonly outcome: "not-yet" };

/** Pure: what a pointer read after a flip tells about the flip from `base` to `next`. */
export function judgeFlip(seen: Pointer, base: Pointer, next: Pointer): FlipOutcome {
  const isOurs = (at: { readonly version: number; readonly commitId: string }) =>
    at.commitId === next.commitId && at.version === next.version;
  if (isOurs(seen) || seen.ancestors.some(isOurs)) return { outcome: "committed" };
  if (seen.version === base.version && seen.commitId === base.commitId)
    return { outcome: "not-yet" };
  if (seen.version === next.version) return { outcome: "lost", to: seen };
  if (seen.ancestors.some((ancestor) => ancestor.version === next.version)) {
    return { outcome: "lost", to: seen };
  }
  return { outcome: "unknown" };
}

/** The ancestors of a pointer that follows `base`. */
export function nextAncestors(base: Pointer): Pointer["ancestors"] {
  const { version, commitId } = base;
  return [...base.ancestors, { version, commitId }].slice(-ANCESTORS_MAX);
}

/**
 * The flip: the only commit point of the whole system. On anything but a clean success the pointer is
 * read, for an SDK retry can meet its own success, and a third writer may stand on top of it.
 */
export async function flipPointer(
  ports: Pick<Ports, "objects" | "clock" | "random">,
  shard: ShardRef,
  base: ReadPointer,
  next: Pointer,
): Promise<Exclude<FlipOutcome, { outcome: "not-yet" }>> {
  const bytes = encodeJson(next);
  const source = { kind: "bytes", bytes } as const;
  const condition = { ifMatch: base.etag };
  const options = { condition, bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  let failure: unknown;
  for (let attempt = 1; attempt <= FLIP_ATTEMPTS_MAX; attempt++) {
    try {
      const put = await ports.objects.put(pointerKey(shard), source, options);
      if (put.outcome === "stored") return { outcome: "committed" };
    } catch (error) {
      if (!isSiltError(error, "unavailable")) throw error;
      failure = error;
    }
    const judged = await judgeCurrent(ports.objects, shard, base.pointer, next, attempt);
    if (judged.outcome !== "not-yet") return judged;
    await ports.clock.sleep(ports.random.fraction() * FLIP_PAUSE_MS * 2 ** attempt);
  }
  throw new SiltError(
    "unavailable",
    `Cannot flip "${pointerKey(shard)}" to version ${next.version}: the store did not take it ${FLIP_ATTEMPTS_MAX} times; try again`,
    { cause: failure },
  );
}

async function judgeCurrent(
  objects: ObjectStore,
  shard: ShardRef,
  base: Pointer,
  next: Pointer,
  attempt: number,
): Promise<FlipOutcome> {
  try {
    return judgeFlip((await readPointer(objects, shard)).pointer, base, next);
  } catch (error) {
    if (!isSiltError(error, "unavailable") || attempt === FLIP_ATTEMPTS_MAX) throw error;
    return { outcome: "not-yet" };
  }
}
