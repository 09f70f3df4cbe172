/** The versions of a shard that are still there: the chain from the pointer, and what the log has pinned. */
import {
  type ObjectRef,
  type Pin,
  parseManifest,
  type SnapshotManifest,
  sha256Of,
  type VersionItem,
  type VersionRef,
} from "./formats.ts";
import { manifestsAhead } from "./manifests-ahead.ts";
import { shardPartition } from "./object-keys.ts";
import type { ObjectStore, Ports, ShardRef, VersionKey } from "./ports.ts";
import { SiltError } from "./silt-error.ts";
import { MANIFEST_BYTES_MAX, type ReadPointer, readPointer } from "./snapshot-pointer.ts";

const ITEMS_PAGE = 1_000;
const VERSIONS_MAX = 1_000_000;
const READS_MAX = 5;
/** Links of a chain that are read one after the other: most chains are no longer. */
const LINKS_ALONE = 8;

/** A version that nobody has given up. */
export interface KnownVersion {
  readonly ref: VersionRef;
  readonly manifest: SnapshotManifest;
  readonly pins: readonly Pin[];
  /** When the next version took its place; null for the current one, and where that is not known any more. */
  readonly supersededAt: string | null;
}

export interface History {
  readonly read: ReadPointer;
  /** Newest first; the first is the current one. All that are neither retired nor gone. */
  readonly versions: readonly KnownVersion[];
  readonly items: readonly VersionItem[];
}

/** Names a version in maps and messages. */
export const versionName = ({ version, commitId }: VersionKey): string => `${version}-${commitId}`;

/**
 * Reads the whole history. The order matters: pointer, chain, items. Versions are retired oldest first,
 * so at the time when one in the middle of the chain was retired, each older one was retired or had an
 * item of its own: no version that could still be pinned is missing here. A pinned version beyond the
 * pointer tells that the pointer was read long ago, and that others lie between. Throws `corrupt` when a
 * manifest is gone that nobody has given up, and what the signal says when it aborts.
 */
export async function readHistory(
  ports: Pick<Ports, "objects" | "log">,
  shard: ShardRef,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<History> {
  for (let attempt = 1; ; attempt++) {
    const read = await readPointer(ports.objects, shard);
    const chain = await walkChain(ports.objects, shard, read, signal);
    const items = await readVersionItems(ports, shard);
    const isOld = items.some(
      ({ version, manifest, retired }) =>
        version > read.pointer.version && manifest !== null && !retired,
    );
    const history = isOld ? undefined : await joinHistory(ports.objects, read, chain, items);
    if (history !== undefined && "versions" in history) return history;
    // Somebody may have flipped, or collected what we were reading: then the pointer or the items tell so.
    if (attempt < READS_MAX) continue;
    if (history === undefined) {
      throw new SiltError(
        "unavailable",
        `Cannot read the history of "${shardPartition(shard)}": its pointer names version ${read.pointer.version}, and later ones are pinned; try again, or run "silt verify"`,
      );
    }
    throw new SiltError(
      "corrupt",
      `Cannot read the history of "${shardPartition(shard)}": manifest "${history.missing}" is gone, but nobody has given its version up; run "silt verify"`,
    );
  }
}

/** All items about versions of a shard. Throws `unavailable` when they are more than are looked through. */
export async function readVersionItems(
  { log }: Pick<Ports, "log">,
  shard: ShardRef,
): Promise<readonly VersionItem[]> {
  const items: VersionItem[] = [];
  for (;;) {
    const last = items.at(-1);
    const page = await log.listVersions(shard, {
      limit: ITEMS_PAGE,
      ...(last && { after: { version: last.version, commitId: last.commitId } }),
    });
    items.push(...page);
    if (page.length < ITEMS_PAGE) return items;
    if (items.length >= VERSIONS_MAX) throw tooLong(shard);
  }
}

interface Chain {
  readonly links: readonly { readonly ref: VersionRef; readonly manifest: SnapshotManifest }[];
  /** The version of which the manifest was not there; undefined when version 0 was reached. */
  readonly end: VersionRef | undefined;
}

async function walkChain(
  objects: ObjectStore,
  shard: ShardRef,
  { pointer }: ReadPointer,
  signal: AbortSignal | undefined,
): Promise<Chain> {
  const { version, commitId, manifest } = pointer;
  const links: Chain["links"][number][] = [];
  let from: Pick<ObjectStore, "get"> = objects;
  let next: VersionRef | null = { version, commitId, manifest };
  while (next !== null && links.length < VERSIONS_MAX) {
    signal?.throwIfAborted();
    if (links.length === LINKS_ALONE) from = { get: await manifestsAhead(objects, shard) };
    const found: SnapshotManifest | undefined = await loadVersion(from, next);
    if (found === undefined) return { links, end: next };
    links.push({ ref: next, manifest: found });
    next = found.parent;
  }
  if (next !== null) throw tooLong(shard);
  return { links, end: undefined };
}

/** Half of it would be taken for all. */
const tooLong = (shard: ShardRef): SiltError =>
  new SiltError(
    "unavailable",
    `Cannot read the history of "${shardPartition(shard)}": it has more than ${VERSIONS_MAX} versions; rebuild the collection`,
  );

/** The manifest of a version; undefined when it is gone. Throws `corrupt` when it is another one. */
export async function loadVersion(
  objects: Pick<ObjectStore, "get">,
  { version, commitId, manifest }: VersionRef,
): Promise<SnapshotManifest | undefined> {
  const found = await objects.get(manifest.key, { bytesMax: MANIFEST_BYTES_MAX });
  if (found.outcome !== "found") return undefined;
  const parsed =
    sha256Of(found.bytes) === manifest.sha256
      ? parseManifest(found.bytes, `manifest "${manifest.key}"`)
      : undefined;
  if (parsed?.version === version && parsed.commitId === commitId) return parsed;
  throw new SiltError(
    "corrupt",
    `Cannot use manifest "${manifest.key}": it is not that of version ${version}, commit "${commitId}"`,
  );
}

/** Chain and items as one; or the key of a manifest that should be there. */
async function joinHistory(
  objects: ObjectStore,
  read: ReadPointer,
  { links, end }: Chain,
  items: readonly VersionItem[],
): Promise<History | { readonly missing: string }> {
  const byName = new Map(items.map((item) => [versionName(item), item]));
  if (end !== undefined && byName.get(versionName(end))?.retired !== true) {
    return { missing: end.manifest.key };
  }
  const versions: KnownVersion[] = [];
  for (const [index, { ref, manifest }] of links.entries()) {
    const item = byName.get(versionName(ref));
    byName.delete(versionName(ref));
    if (item?.retired === true) continue;
    const supersededAt = links[index - 1]?.manifest.stats.committedAt ?? null;
    versions.push({ ref, manifest, pins: item?.pins ?? [], supersededAt });
  }
  for (const { version, commitId, manifest, retired, pins } of byName.values()) {
    if (retired || manifest === null) continue;
    const ref = { version, commitId, manifest };
    const found = await loadVersion(objects, ref);
    if (found === undefined) return { missing: manifest.key };
    versions.push({ ref, manifest: found, pins, supersededAt: null });
  }
  return {
    read,
    items,
    versions: versions.sort((a, b) => b.ref.version - a.ref.version),
  };
}

/** Keys of all objects that versions consist of. */
export function objectsOf(versions: readonly KnownVersion[]): ReadonlySet<string> {
  const refs = versions.flatMap(({ ref, manifest }): readonly ObjectRef[] => [
    ref.manifest,
    ...manifest.segments.flatMap(({ object, sidecars }) => [
      object,
      ...sidecars.map((sidecar) => sidecar.object),
    ]),
  ]);
  return new Set(refs.map(({ key }) => key));
}

/** A version of the history by its number. Throws `invalid` when there is none, or not any more. */
export function findVersion(shard: ShardRef, history: History, version: number): KnownVersion {
  const found = history.versions.find(({ ref }) => ref.version === version);
  if (found !== undefined) return found;
  const { pointer } = history.read;
  const kept = history.versions.map(({ ref }) => ref.version);
  const state =
    version > pointer.version
      ? `the newest is ${pointer.version}`
      : "the collector has taken it, or it never was";
  throw new SiltError(
    "invalid",
    `Cannot use version ${version} of "${shard.collection}" ${shard.shard}: ${state}; there are ${kept.slice(0, 20).join(", ")}`,
  );
}
