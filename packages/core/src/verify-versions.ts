/**
 * The chain of versions of a shard, from the current one back to the oldest that is still there: each
 * manifest by its hash, by itself and against its parent, and each object that they list.
 */
import {
  type ObjectRef,
  type Pointer,
  parseManifest,
  type SegmentDescriptor,
  type SnapshotManifest,
  sha256Of,
  type VersionItem,
} from "./formats.ts";
import { readVersionItems } from "./history.ts";
import { manifestKey, pointerKey, versionPrefix } from "./object-keys.ts";
import type { VersionKey } from "./ports.ts";
import { isSiltError } from "./silt-error.ts";
import { MANIFEST_BYTES_MAX } from "./snapshot-pointer.ts";
import { manifestProblems, parentProblems } from "./verify-chain.ts";
import { logObject, type ShardContext } from "./verify-context.ts";
import { unlessDamaged, unlessLogDamaged } from "./verify-report.ts";
import { verifyOldObject, verifySegment } from "./verify-segment.ts";

/** So many attempts at one version are looked through for the one that was committed. */
const ATTEMPTS_MAX = 1_000;

/** A version as a pointer or another version names it. */
export interface VersionLink {
  readonly version: number;
  readonly commitId: string;
  readonly key: string;
  /** Undefined where only the version is known. */
  readonly sha256: string | undefined;
}

/** What the walk has seen, to tell leftovers by: some hundred bytes for each version. */
export interface KnownVersions {
  /** Keys that the chain's manifests have and name. */
  readonly referenced: Set<string>;
  /** Prefixes of versions whose manifest says nothing any more. */
  readonly opaque: Set<string>;
}

export type FoundManifest =
  | { readonly state: "proven"; readonly manifest: SnapshotManifest }
  /** `loose` is what it seems to say. */
  | {
      readonly state: "damaged";
      readonly loose: SnapshotManifest | undefined;
      readonly reason: string;
      readonly laterFormat: boolean;
    }
  | { readonly state: "gone" };

/** The manifest of a version, by its hash where that is known. */
export async function loadManifest(
  { ports, findings }: ShardContext,
  link: VersionLink,
): Promise<FoundManifest> {
  let reason = "";
  let laterFormat = false;
  const found = await unlessDamaged(
    () => ports.objects.get(link.key, { bytesMax: MANIFEST_BYTES_MAX }),
    (error) => {
      reason = error.message;
    },
  );
  if (found === undefined) return { state: "damaged", loose: undefined, reason, laterFormat };
  if (found.outcome !== "found") return { state: "gone" };
  findings.count({ objects: 1, bytes: found.bytes.byteLength });
  const parsed = await unlessDamaged(
    () => parseManifest(found.bytes, `manifest "${link.key}"`),
    (error) => {
      reason = error.message;
      laterFormat = isSiltError(error, "invalid");
    },
  );
  const isThis = parsed?.version === link.version && parsed.commitId === link.commitId;
  const loose = isThis ? parsed : undefined;
  if (link.sha256 !== undefined && sha256Of(found.bytes) !== link.sha256) {
    reason = "its content does not have the hash that it was committed with";
    return { state: "damaged", loose, reason, laterFormat: false };
  }
  if (loose !== undefined) return { state: "proven", manifest: loose };
  if (parsed !== undefined) reason = `it is version ${parsed.version}-${parsed.commitId}`;
  return { state: "damaged", loose, reason, laterFormat };
}

/**
 * Checks the current version and all its ancestors. A version that says nothing is passed by way of
 * the pointer's list of ancestors. Memory: one manifest, its child, and {@link KnownVersions}.
 */
export async function verifyVersions(
  context: ShardContext,
  pointer: Pointer | undefined,
  current: { readonly link: VersionLink; readonly found: FoundManifest },
): Promise<KnownVersions> {
  const known: KnownVersions = { referenced: new Set(), opaque: new Set() };
  let child: SnapshotManifest | undefined;
  let { link, found } = current;
  for (;;) {
    context.signal?.throwIfAborted();
    known.referenced.add(link.key);
    const isCurrent = link === current.link;
    if (found.state === "gone") {
      known.opaque.add(versionPrefix(context.shard, link.version, link.commitId));
      if (isCurrent || !(await isRetired(context, link))) reportGone(context, link, isCurrent);
    } else {
      if (found.state === "damaged") reportDamaged(context, link, found, isCurrent, known);
      await verifyContent(context, found, child, isCurrent, known);
    }
    child = found.state === "proven" ? found.manifest : undefined;
    const next = parentOf(context, link, found, pointer);
    if (next === undefined || next.version >= link.version) break;
    reportRing(context, pointer, next, link);
    link = next;
    found = await loadManifest(context, link);
  }
  await verifyHeldVersions(context, known);
  return known;
}

/** Versions that the log has an item of, and to which no chain of manifests leads any more. */
async function verifyHeldVersions(context: ShardContext, known: KnownVersions): Promise<void> {
  for (const { version, commitId, manifest, retired } of await itemsOf(context)) {
    if (retired || manifest === null || known.referenced.has(manifest.key)) continue;
    context.signal?.throwIfAborted();
    const link = { version, commitId, key: manifest.key, sha256: manifest.sha256 };
    known.referenced.add(link.key);
    const found = await loadManifest(context, link);
    if (found.state !== "gone") {
      if (found.state === "damaged") reportDamaged(context, link, found, false, known);
      await verifyContent(context, found, undefined, false, known);
    } else if (!(await isRetired(context, link))) reportGone(context, link, false);
  }
}

/** The log's items about versions; what cannot be read is reported, and none. */
async function itemsOf({ ports, shard, findings }: ShardContext): Promise<readonly VersionItem[]> {
  const items = await unlessLogDamaged(
    () => readVersionItems(ports, shard),
    ({ message }) => findings.problem(logObject(shard, "versions"), "log-unreadable", message),
  );
  return items ?? [];
}

/** True when the version was given up: then its objects go at any moment, and nobody misses them. */
async function isRetired(
  { ports, shard }: ShardContext,
  { version, commitId }: VersionKey,
): Promise<boolean> {
  const after = { version, commitId: "" };
  const items = await unlessLogDamaged(
    () => ports.log.listVersions(shard, { after, limit: ATTEMPTS_MAX }),
    // Reported with all items.
    () => {},
  );
  return (
    items?.some((item) => item.version === version && item.commitId === commitId && item.retired) ??
    false
  );
}

function reportGone({ findings }: ShardContext, { key, version }: VersionLink, current: boolean) {
  if (current) {
    findings.problem(
      key,
      "manifest-missing",
      `The pointer names version ${version}, but its manifest is gone`,
    );
  } else {
    findings.problem(
      key,
      "old-manifest-missing",
      `The manifest of version ${version} is gone, but nobody has given that version up`,
    );
  }
}

function reportDamaged(
  { findings, shard }: ShardContext,
  { key, version, commitId }: VersionLink,
  found: Extract<FoundManifest, { state: "damaged" }>,
  isCurrent: boolean,
  known: KnownVersions,
): void {
  known.opaque.add(versionPrefix(shard, version, commitId));
  const kind = isCurrent ? "manifest-damaged" : "old-manifest-damaged";
  findings.problem(
    key,
    found.laterFormat ? "format-unknown" : kind,
    `Manifest of version ${version}: ${found.reason}`,
  );
}

/** The pointer's ring of ancestors decides what became of a flip: it must name the same chain. */
function reportRing(
  { findings, shard }: ShardContext,
  pointer: Pointer | undefined,
  link: VersionLink,
  child: VersionLink,
): void {
  // The last ancestor was compared with the current manifest.
  if (pointer === undefined || child.version === pointer.version) return;
  const ancestor = pointer.ancestors.find(({ version }) => version === link.version);
  if (ancestor === undefined || ancestor.commitId === link.commitId) return;
  findings.problem(
    pointerKey(shard),
    "pointer-mismatch",
    `Pointer: its ancestor of version ${link.version} is ${ancestor.commitId}, the chain has ${link.commitId}`,
  );
}

/** The version before, by what names it most surely. */
function parentOf(
  { shard }: ShardContext,
  link: VersionLink,
  found: FoundManifest,
  pointer: Pointer | undefined,
): VersionLink | undefined {
  if (found.state === "proven") {
    const { parent } = found.manifest;
    return parent === null
      ? undefined
      : linkOf(shard, parent.version, parent.commitId, parent.manifest.sha256);
  }
  const ancestor = pointer?.ancestors.findLast(({ version }) => version < link.version);
  const loose = found.state === "damaged" ? found.loose?.parent : undefined;
  const named = ancestor ?? loose ?? undefined;
  return named && linkOf(shard, named.version, named.commitId, undefined);
}

/** A version under the key that its number and commit give it. */
export function linkOf(
  shard: ShardContext["shard"],
  version: number,
  commitId: string,
  sha256: string | undefined,
): VersionLink {
  return { version, commitId, key: manifestKey(shard, version, commitId), sha256 };
}

/** A manifest by itself and against its child, then the objects that its child did not list. */
async function verifyContent(
  context: ShardContext,
  found: Exclude<FoundManifest, { state: "gone" }>,
  child: SnapshotManifest | undefined,
  isCurrent: boolean,
  known: KnownVersions,
): Promise<void> {
  const { findings, shard } = context;
  const manifest = found.state === "proven" ? found.manifest : found.loose;
  context.progress.done();
  if (manifest === undefined) return;
  const key = manifestKey(shard, manifest.version, manifest.commitId);
  if (found.state === "proven") {
    for (const problem of manifestProblems(manifest, shard, context.vectors)) {
      findings.problem(key, "manifest-inconsistent", `Version ${manifest.version}: ${problem}`);
    }
  }
  if (found.state === "proven" && child !== undefined) {
    for (const problem of parentProblems(child, manifest)) {
      const childKey = manifestKey(shard, child.version, child.commitId);
      findings.problem(childKey, "chain-broken", `Version ${child.version}: ${problem}`);
    }
  }
  const isProven = found.state === "proven";
  const seen = new Set(child?.segments.flatMap(refsOf).map((ref) => ref.key));
  for (const segment of manifest.segments) {
    context.signal?.throwIfAborted();
    for (const { key } of refsOf(segment)) known.referenced.add(key);
    if (isCurrent) await verifySegment(context, manifest, segment, found.state === "proven");
    else {
      for (const ref of refsOf(segment)) {
        if (seen.has(ref.key)) continue;
        const isThere = await verifyOldObject(context, ref, manifest.version, isProven);
        if (isThere || (await isRetired(context, manifest))) continue;
        reportLost(context, ref, manifest, isProven);
      }
    }
  }
}

function reportLost(
  { findings }: ShardContext,
  { key }: ObjectRef,
  { version }: SnapshotManifest,
  proven: boolean,
): void {
  const message = `Version ${version}, which nobody has given up, lists it, but it is gone`;
  if (proven) findings.problem(key, "old-segment-missing", message);
  else findings.notice(key, "unproven", `${message}; but the manifest that says so is damaged`);
}

/** The objects of a segment. */
export const refsOf = ({ object, sidecars }: SegmentDescriptor): readonly ObjectRef[] => [
  object,
  ...sidecars.map((sidecar) => sidecar.object),
];
