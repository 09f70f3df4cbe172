/** Creating, opening and changing collections. `collection.json` is written last: it commits the creation. */

import { contentsOf, wasEverUsed } from "./collection-folders.ts";
import {
  COLLECTION_NAME,
  type CollectionIdentity,
  type CompactionPolicy,
  DEFAULT_POLICY,
  DIMENSION_MAX,
  encodeJson,
  FORMAT,
  type Pointer,
  type Policy,
  parseCollection,
  parsePolicy,
  SHARDS_MAX,
  type SnapshotManifest,
  seal,
  sha256Of,
} from "./formats.ts";
import { shortId } from "./ids.ts";
import { METRICS, type Metric } from "./metric.ts";
import {
  COLLECTIONS_PREFIX,
  collectionKey,
  pointerKey,
  policyKey,
  shardPrefix,
} from "./object-keys.ts";
import { type Ports, putOptionsOf, type ShardRef } from "./ports.ts";
import { EMPTY_RUNS_HASH } from "./run-chain.ts";
import { shardNames } from "./sharding.ts";
import { isSiltError, reasonOf, SiltError } from "./silt-error.ts";
import { statsOf, storeManifest } from "./upload-version.ts";

const COLLECTION_BYTES_MAX = 64 * 1024;
const POLICY_ATTEMPTS_MAX = 10;

/** What a user says about a collection; what is left out takes its default at creation. */
export interface CollectionSettings {
  readonly dimension: number;
  readonly metric?: Metric;
  readonly embedder?: string | null;
  readonly shards?: number;
  readonly policy?: CompactionPolicy["strategy"];
}

export interface OpenCollection {
  readonly identity: CollectionIdentity;
  readonly policy: Policy;
}

/** The shards of a collection, in order. */
export function shardRefs(identity: CollectionIdentity): readonly ShardRef[] {
  const { collection, storeId } = identity;
  return shardNames(identity.shards).map((shard) => ({ collection, storeId, shard }));
}

/** Throws `invalid` unless the name can be a collection's. */
export function checkCollectionName(name: string): void {
  if (COLLECTION_NAME.test(name)) return;
  throw new SiltError(
    "invalid",
    `Cannot use collection name "${name}": expected 1 to 63 of a-z 0-9 . _ -, beginning with a letter or digit`,
  );
}

/** Opens a collection; undefined when there is none of this name. Throws `corrupt` when only its data is left. */
export async function openCollection(
  ports: Ports,
  name: string,
): Promise<OpenCollection | undefined> {
  checkCollectionName(name);
  const key = collectionKey(name);
  const found = await ports.objects.get(key, { bytesMax: COLLECTION_BYTES_MAX });
  if (found.outcome !== "found") {
    await refuseLostIdentity(ports, name);
    return undefined;
  }
  const identity = parseCollection(found.bytes, `collection "${key}"`);
  if (identity.collection !== name) {
    throw new SiltError(
      "corrupt",
      `Cannot open collection "${name}": its file names "${identity.collection}"`,
    );
  }
  const { policy } = await readPolicy(ports, name);
  return { identity, policy };
}

/** Data without a `collection.json` is a loss, never a reason to start empty over it (F8). */
async function refuseLostIdentity(ports: Ports, name: string): Promise<void> {
  const { shards } = await contentsOf(ports.objects, name);
  for (const shard of shards) {
    if (!(await wasEverUsed(ports, shard))) continue;
    // Another process may have created and used it since we looked.
    const key = collectionKey(name);
    if ((await ports.objects.head(key)).outcome === "found") return;
    throw new SiltError(
      "corrupt",
      `Cannot open collection "${name}": its "${key}" is gone, but "${shardPrefix(shard)}" holds data; ` +
        'restore it from a backup, "silt verify" tells what is there',
    );
  }
}

/** Names of all collections, ascending. */
export async function listCollections(ports: Ports): Promise<readonly string[]> {
  const names: string[] = [];
  for (const name of await ports.objects.listFolders(COLLECTIONS_PREFIX)) {
    const head = await ports.objects.head(collectionKey(name));
    if (head.outcome === "found") names.push(name);
  }
  return names;
}

async function readPolicy(ports: Ports, name: string): Promise<{ policy: Policy; etag: string }> {
  const key = policyKey(name);
  const found = await ports.objects.get(key, { bytesMax: COLLECTION_BYTES_MAX });
  if (found.outcome === "found") {
    return { policy: parsePolicy(found.bytes, `policy "${key}"`), etag: found.etag };
  }
  // Never the defaults: someone may have set a longer retention.
  throw new SiltError(
    "corrupt",
    `Cannot open collection "${name}": its "${key}" is gone; restore it from a backup`,
  );
}

/**
 * Creates the collection, or opens it when it has these settings already. Throws `invalid` when it
 * exists with another identity; another policy is set.
 */
export async function ensureCollection(
  ports: Ports,
  name: string,
  settings: CollectionSettings,
): Promise<OpenCollection & { readonly created: boolean }> {
  checkCollectionSettings(name, settings);
  let open = await openCollection(ports, name);
  let created = false;
  if (open === undefined) {
    created = await createCollection(ports, name, settings);
    open = await openCollection(ports, name);
    if (open === undefined)
      throw new SiltError("unavailable", `Cannot create collection "${name}": it vanished`);
  }
  checkSameIdentity(name, open.identity, settings);
  const strategy = settings.policy;
  if (strategy === undefined || open.policy.compaction.strategy === strategy)
    return { ...open, created };
  const policy = await updatePolicy(ports, name, (policy) => ({
    ...policy,
    compaction: { ...policy.compaction, strategy },
  }));
  return { identity: open.identity, policy, created };
}

/** Throws `invalid` unless a collection of this name can be made with these settings. */
export function checkCollectionSettings(name: string, settings: CollectionSettings): void {
  checkCollectionName(name);
  const refuse = (state: string): never => {
    throw new SiltError("invalid", `Cannot create collection "${name}": ${state}`);
  };
  const { dimension, metric, shards } = settings;
  if (!Number.isInteger(dimension) || dimension < 1 || dimension > DIMENSION_MAX) {
    refuse(`dimension is ${dimension}, expected a whole number from 1 to ${DIMENSION_MAX}`);
  }
  if (metric !== undefined && !METRICS.includes(metric)) {
    refuse(`metric is "${metric}", expected one of ${METRICS.join(", ")}`);
  }
  if (shards !== undefined && (!Number.isInteger(shards) || shards < 1 || shards > SHARDS_MAX)) {
    refuse(`shards is ${shards}, expected a whole number from 1 to ${SHARDS_MAX}`);
  }
  if (settings.policy !== undefined && !["tiered", "single"].includes(settings.policy)) {
    refuse(`policy is "${settings.policy}", expected "tiered" or "single"`);
  }
}

function checkSameIdentity(
  name: string,
  identity: CollectionIdentity,
  settings: CollectionSettings,
): void {
  const field = identity.vectors[0];
  const wanted: readonly [string, unknown, unknown][] = [
    ["dimension", settings.dimension, field?.dimension],
    ["metric", settings.metric, field?.metric],
    ["embedder", settings.embedder, field?.embedder],
    ["shards", settings.shards, identity.shards],
  ];
  const differs = wanted.find(([, want, have]) => want !== undefined && want !== have);
  if (differs === undefined) return;
  const [what, want, have] = differs;
  throw new SiltError(
    "invalid",
    `Cannot open collection "${name}" with ${what} ${want}: it has ${what} ${have}, which never changes; use another name`,
  );
}

/** Writes all shards under a new store id, then `collection.json`. False when someone else was first. */
async function createCollection(
  ports: Ports,
  name: string,
  settings: CollectionSettings,
): Promise<boolean> {
  const identity: CollectionIdentity = seal({
    format: FORMAT as 1,
    requires: [],
    collection: name,
    storeId: shortId(ports.random.bytes(8)),
    vectors: [
      {
        name: "default",
        dimension: settings.dimension,
        encoding: "f32le" as const,
        metric: settings.metric ?? "cosine",
        embedder: settings.embedder ?? null,
      },
    ],
    shards: settings.shards ?? 1,
    hash: "sha256" as const,
    createdAt: new Date(ports.clock.nowMs()).toISOString(),
  });
  const { compaction } = DEFAULT_POLICY;
  const strategy = settings.policy ?? compaction.strategy;
  await putIfAbsent(
    ports,
    policyKey(name),
    seal({ ...DEFAULT_POLICY, compaction: { ...compaction, strategy } }),
  );
  for (const shard of shardRefs(identity)) await createShard(ports, identity, shard);
  return putIfAbsent(ports, collectionKey(name), identity);
}

async function putIfAbsent(ports: Ports, key: string, value: object): Promise<boolean> {
  const bytes = encodeJson(value);
  const ref = { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  const put = await ports.objects.put(
    key,
    { kind: "bytes", bytes },
    putOptionsOf(ref, { ifAbsent: true }),
  );
  return put.outcome === "stored";
}

/** HEAD, and version 0: so that every later flip has an ETag to match and nobody ever "starts empty". */
async function createShard(
  ports: Ports,
  identity: CollectionIdentity,
  shard: ShardRef,
): Promise<void> {
  const head = {
    sequence: 0,
    runsHash: EMPTY_RUNS_HASH,
    floor: "",
    excluding: null,
    excludeRev: 0,
  };
  await ports.log.createShard(shard, head);
  const committedAt = identity.createdAt;
  const common = {
    collection: shard.collection,
    storeId: shard.storeId,
    shard: shard.shard,
    version: 0,
    commitId: shortId(ports.random.bytes(8)),
    epoch: 0,
    appliedThrough: 0,
    runsHash: EMPTY_RUNS_HASH,
  };
  const manifest: SnapshotManifest = {
    format: FORMAT,
    requires: [],
    kind: "snapshot",
    ...common,
    parent: null,
    parentManifestSha256: null,
    vectors: identity.vectors,
    segments: [],
    excluded: [],
    stats: statsOf([], committedAt),
  };
  const ref = await storeManifest(ports, shard, manifest);
  const pointer: Pointer = seal({
    format: FORMAT as 1,
    requires: [],
    ...common,
    manifest: ref,
    parentCommitId: null,
    ancestors: [],
    committedAt,
  });
  await putIfAbsent(ports, pointerKey(shard), pointer);
}

/** Changes a collection's policy by compare-and-swap. */
export async function updatePolicy(
  ports: Ports,
  name: string,
  change: (policy: Policy) => Policy,
): Promise<Policy> {
  for (let attempt = 1; attempt <= POLICY_ATTEMPTS_MAX; attempt++) {
    const { policy, etag } = await readPolicy(ports, name);
    const { selfSha256, ...rest } = change(policy);
    const next: Policy = seal(rest);
    if (next.selfSha256 === policy.selfSha256) return policy;
    const bytes = encodeJson(next);
    checkPolicy(name, bytes);
    const ref = { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
    try {
      const source = { kind: "bytes", bytes } as const;
      const put = await ports.objects.put(
        policyKey(name),
        source,
        putOptionsOf(ref, { ifMatch: etag }),
      );
      if (put.outcome === "stored") return next;
    } catch (error) {
      if (!isSiltError(error, "unavailable")) throw error;
    }
    await ports.clock.sleep(ports.random.fraction() * 20 * attempt);
  }
  throw new SiltError(
    "conflict",
    `Cannot change the policy of "${name}": others change it too; try again`,
  );
}

/** What could not be read again must not be written. */
function checkPolicy(name: string, bytes: Uint8Array): void {
  try {
    parsePolicy(bytes, `policy of "${name}"`);
  } catch (cause) {
    throw new SiltError(
      "invalid",
      `Cannot change the policy of "${name}": ${reasonOf(cause)}; nothing was changed`,
      { cause },
    );
  }
}
