/**
 * Every persisted JSON thing: its shape, its one encoder and its one parser. What comes from
 * outside is parsed here, once; an unknown `requires` means: refuse to read or compact.
 */
import { z } from "zod";
import { METRICS } from "./metric.ts";
import { checkKeys, parseAs } from "./parse-json.ts";

export { encodeJson, seal, sha256Of } from "./parse-json.ts";

export const FORMAT = 1;
const header = { format: z.literal(FORMAT), requires: z.array(z.string()) };
const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);
const lanesHex = z.string().regex(/^[0-9a-f]{32}$/);
const count = z.number().int().nonnegative();
/** What a timer can wait for, and more than any lease should. */
const leaseMs = count.max(24 * 3600 * 1000);
const counts = z.object({ put: count, patch: count, delete: count });
const sums = z.object({ v: lanesHex, t: lanesHex });

/** Why the collector takes an object for no longer needed. */
export const CANDIDATE_REASONS = [
  /** The manifest of a version that retention lets go. */
  "old-version",
  /** No version that is kept lists it. */
  "unreferenced",
  /** A bundle whose registration never happened. */
  "unregistered",
  /** A bundle that every version which is kept has applied. */
  "applied",
] as const;

/** How many ancestors a pointer remembers, to tell a lost answer from a lost race. */
export const ANCESTORS_MAX = 64;
/** So that a list of anything is refused before each of its members is complained about. */
const LIST_MAX = 100_000;

export const COLLECTION_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
export const DIMENSION_MAX = 16_384;
export const SHARDS_MAX = 256;

const objectRef = z.object({
  key: z.string().min(1),
  bytes: count,
  sha256: sha256Hex,
  codec: z.enum(["none", "tar"]),
});
/** Where an immutable object lies, how long it is, and what it hashes to. */
export type ObjectRef = z.infer<typeof objectRef>;

const vectorField = z.object({
  name: z.string(),
  dimension: z.number().int().min(1).max(DIMENSION_MAX),
  encoding: z.literal("f32le"),
  metric: z.enum(METRICS),
  embedder: z.string().nullable(),
});
/** One embedding of the records of a collection. */
export type VectorField = z.infer<typeof vectorField>;

const collectionIdentity = z.object({
  ...header,
  collection: z.string().regex(COLLECTION_NAME),
  storeId: z.string().regex(/^[0-9a-z]{8,32}$/),
  vectors: z.array(vectorField).length(1),
  shards: z.number().int().min(1).max(SHARDS_MAX),
  hash: z.literal("sha256"),
  createdAt: z.string(),
  selfSha256: sha256Hex,
});
/** What a collection is: written once, never changed. */
export type CollectionIdentity = z.infer<typeof collectionIdentity>;

const policy = z.object({
  ...header,
  compaction: z.object({
    strategy: z.enum(["tiered", "single"]),
    /** A merge must grow its largest input at least this many times (tiered). */
    fanOut: z.number().int().min(2).max(64),
    /** Below this size all is merged into one segment, whatever the strategy. */
    smallBytes: count,
    /** The oldest segment is rewritten when newer ones hold more than this many times its bytes. */
    rewriteRatio: z.number().positive(),
    /** All is rewritten when tombstones above the oldest segment pass this share of all rows. */
    tombstoneRatio: z.number().positive(),
    /** All is rewritten when a tombstone above the oldest segment is older than this. */
    tombstoneAgeMs: count,
    segmentsMax: z.number().int().min(2),
    runsMax: z.number().int().min(1),
    bytesMax: count,
  }),
  lease: z.object({
    ttlMs: leaseMs.min(1),
    heartbeatMs: leaseMs.min(1),
    skewMs: leaseMs,
  }),
  retention: z.object({
    /** The newest versions that differ in what they applied or excluded are kept: so many of them. */
    versionsKept: z.number().int().min(1),
    /** A version is kept at least so long after the next one took its place. */
    versionsKeptMs: count,
    /** An applied bundle is kept at least so long after its registration; null = for ever. */
    deltasKeptMs: count.nullable(),
    /** Between a plan of the collector and the deletion of what it names. */
    graceMs: count,
  }),
  selfSha256: sha256Hex,
});
/** How a collection is kept: may change, by compare-and-swap. */
export type Policy = z.infer<typeof policy>;
export type CompactionPolicy = Policy["compaction"];

export const DEFAULT_POLICY: Omit<Policy, "selfSha256"> = {
  format: FORMAT,
  requires: [],
  compaction: {
    strategy: "tiered",
    fanOut: 16,
    smallBytes: 8 * 1024 * 1024,
    rewriteRatio: 2,
    tombstoneRatio: 0.2,
    tombstoneAgeMs: 7 * 24 * 3600 * 1000,
    segmentsMax: 64,
    runsMax: 1_000,
    bytesMax: 1024 * 1024 * 1024,
  },
  lease: { ttlMs: 30_000, heartbeatMs: 10_000, skewMs: 2_000 },
  retention: {
    versionsKept: 10,
    versionsKeptMs: 7 * 24 * 3600 * 1000,
    deltasKeptMs: 30 * 24 * 3600 * 1000,
    graceMs: 3600 * 1000,
  },
};

const deltaManifest = z.object({
  ...header,
  kind: z.literal("delta"),
  collection: z.string(),
  storeId: z.string(),
  shard: z.string(),
  runId: z.string(),
  vectors: z.array(vectorField).length(1),
  rows: counts,
  replaced: count,
  sums,
  source: z.string().nullable(),
  sqlite: z.object({ name: z.literal("delta.sqlite"), bytes: count, sha256: sha256Hex }),
});
/** `delta.json` inside a bundle. */
export type DeltaManifest = z.infer<typeof deltaManifest>;

const run = z.object({
  ...header,
  sequence: z.number().int().positive(),
  runId: z.string(),
  delta: objectRef,
  rows: counts,
  replaced: count,
  source: z.string().nullable(),
  /** The runs that were registered in the same transaction. */
  companions: z.array(z.object({ collection: z.string(), shard: z.string(), runId: z.string() })),
  /** The excluded sequence number that this run brings back. */
  retryOf: z.number().int().positive().nullable(),
  registeredAt: z.string(),
  /** Rolling hash of all run ids of the shard up to this one. */
  runsHash: sha256Hex,
});
/** The log entry that registers a delta. */
export type Run = z.infer<typeof run>;

const segmentDescriptor = z.object({
  object: objectRef,
  firstSequence: z.number().int().positive(),
  lastSequence: z.number().int().positive(),
  rows: counts,
  replaced: count,
  sums,
  /** When the oldest run that left a delete, patch or replaced parent here was registered. */
  tombstonesSince: z.string().nullable(),
  sidecars: z.array(z.object({ kind: z.string(), object: objectRef, segmentSha256: sha256Hex })),
});
export type SegmentDescriptor = z.infer<typeof segmentDescriptor>;

const exclusion = z.object({
  from: z.number().int().positive(),
  to: z.number().int().positive(),
  runIds: z.array(z.string()),
  /** `poison` may come back by a retry; a rollback is final, its sources are written again. */
  cause: z.enum(["poison", "rollback"]),
  reason: z.string(),
  excludedAt: z.string(),
  /** The run that brought poison back; tombstones since `from` are kept until then. */
  retriedBy: z.string().nullable(),
});
/** A range of runs that the snapshot leaves out, for good. */
export type Exclusion = z.infer<typeof exclusion>;

const versionRef = z.object({ version: count, commitId: z.string(), manifest: objectRef });
/** A version and the manifest that is all of it. */
export type VersionRef = z.infer<typeof versionRef>;

const snapshotManifest = z.object({
  ...header,
  kind: z.literal("snapshot"),
  collection: z.string(),
  storeId: z.string(),
  shard: z.string(),
  version: count,
  commitId: z.string(),
  epoch: count,
  parent: versionRef.nullable(),
  parentManifestSha256: sha256Hex.nullable(),
  vectors: z.array(vectorField).length(1),
  appliedThrough: count,
  runsHash: sha256Hex,
  segments: z.array(segmentDescriptor).max(LIST_MAX),
  excluded: z.array(exclusion).max(LIST_MAX),
  stats: z.object({ rows: count, segments: count, bytes: count, committedAt: z.string() }),
});
/** One version of a shard: the segments it consists of, oldest first. */
export type SnapshotManifest = z.infer<typeof snapshotManifest>;

const pointer = z.object({
  ...header,
  collection: z.string(),
  storeId: z.string(),
  shard: z.string(),
  version: count,
  commitId: z.string(),
  epoch: count,
  manifest: objectRef,
  appliedThrough: count,
  runsHash: sha256Hex,
  parentCommitId: z.string().nullable(),
  ancestors: z.array(z.object({ version: count, commitId: z.string() })).max(ANCESTORS_MAX),
  committedAt: z.string(),
  selfSha256: sha256Hex,
});
/** The one small object that names the current version of a shard. */
export type Pointer = z.infer<typeof pointer>;

export const parseCollection = (bytes: Uint8Array, what: string): CollectionIdentity =>
  parseAs(collectionIdentity, what, bytes, true);
export const parsePolicy = (bytes: Uint8Array, what: string): Policy =>
  parseAs(policy, what, bytes, true);
export function parsePointer(bytes: Uint8Array, what: string): Pointer {
  const parsed = parseAs(pointer, what, bytes, true);
  checkKeys(what, parsed, [parsed.manifest.key]);
  return parsed;
}

export function parseManifest(bytes: Uint8Array, what: string): SnapshotManifest {
  const parsed = parseAs(snapshotManifest, what, bytes, false);
  const objects = parsed.segments.flatMap(({ object, sidecars }) => [
    object,
    ...sidecars.map((sidecar) => sidecar.object),
  ]);
  const parent = parsed.parent === null ? [] : [parsed.parent.manifest];
  checkKeys(
    what,
    parsed,
    [...parent, ...objects].map(({ key }) => key),
  );
  return parsed;
}

export const parseDeltaManifest = (bytes: Uint8Array, what: string): DeltaManifest =>
  parseAs(deltaManifest, what, bytes, false);
export const parseRun = (bytes: Uint8Array, what: string): Run => parseAs(run, what, bytes, false);

const guard = z.object({
  ...header,
  uri: z.string(),
  /** Family of pipelines that shares guards, e.g. `images`. */
  family: z.string(),
  rev: z.number().int().positive(),
  /** SHA-256 of the source's bytes, or null when the source is gone. */
  sourceDigest: sha256Hex.nullable(),
  pipelineId: z.string(),
  /** What the source was last turned into. */
  runs: z.array(
    z.object({
      collection: z.string(),
      storeId: z.string(),
      shard: z.string(),
      runId: z.string(),
      sequence: z.number().int().positive(),
    }),
  ),
  /** Why the last attempt failed; null when it went well. */
  failure: z.object({ sourceDigest: sha256Hex, reason: z.string(), at: z.string() }).nullable(),
  /** Which host and folder a file was read from; prune looks only at its own. */
  root: z.string().nullable(),
});
/** The log's item about a source. */
export type Guard = z.infer<typeof guard>;
export const parseGuard = (bytes: Uint8Array, what: string): Guard =>
  parseAs(guard, what, bytes, false);

const pin = z.object({
  /** Who holds the version; unpinning needs the same name. */
  owner: z.string().min(1),
  reason: z.string(),
  pinnedAt: z.string(),
  /** Of a rollback: the version that its flip replaces. Any later version resolves the pin. */
  baseVersion: count.nullable(),
});
/** Somebody's hold on a version. */
export type Pin = z.infer<typeof pin>;

const versionItem = z.object({
  ...header,
  version: count,
  commitId: z.string(),
  /** Given up for good: nobody may pin it any more. */
  retired: z.boolean(),
  /** Null for a version that was retired without ever being pinned. */
  manifest: objectRef.nullable(),
  pins: z.array(pin),
});
/** The log's item about a version that was pinned or retired. */
export type VersionItem = z.infer<typeof versionItem>;

/** The item of a version of which the log knows nothing yet. */
export const newVersionItem = (key: Pick<VersionItem, "version" | "commitId">): VersionItem => ({
  format: FORMAT,
  requires: [],
  ...key,
  retired: false,
  manifest: null,
  pins: [],
});

export const parseVersionItem = (bytes: Uint8Array, what: string): VersionItem =>
  parseAs(versionItem, what, bytes, false);

const collectorPlan = z.object({
  ...header,
  kind: z.literal("collector-plan"),
  collection: z.string(),
  storeId: z.string(),
  shard: z.string(),
  planId: z.string(),
  candidates: z.array(
    z.object({
      key: z.string(),
      why: z.enum(CANDIDATE_REASONS),
      /** When a plan first named it, by the store's clock; null = by this one. */
      sinceMs: z.number().nullable(),
    }),
  ),
  selfSha256: sha256Hex,
});
/** What a collector would delete, and since when: written once, replaced by the next plan. */
export type CollectorPlan = z.infer<typeof collectorPlan>;
export type CandidateReason = (typeof CANDIDATE_REASONS)[number];
export const parseCollectorPlan = (bytes: Uint8Array, what: string): CollectorPlan =>
  parseAs(collectorPlan, what, bytes, true);

const awsStoreMarker = z.object({
  ...header,
  storeKind: z.literal("aws"),
  /** The table's `STORE` item has the same: log and objects belong together. */
  bindingId: z.string().min(1),
  table: z.string().min(1),
  selfSha256: sha256Hex,
});
/** `silt-store.json` of a store on AWS: which table holds its log. */
export type AwsStoreMarker = z.infer<typeof awsStoreMarker>;
export const parseAwsStoreMarker = (bytes: Uint8Array, what: string): AwsStoreMarker =>
  parseAs(awsStoreMarker, what, bytes, true);
