/** Looking into one bundle or segment, wherever it lies: what it holds and whether it is sound. */
import { createHash } from "node:crypto";
import { closeSync, copyFileSync, openSync, readSync, type Stats, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  canonicalJson,
  type DeltaManifest,
  DIMENSION_MAX,
  decodeEmbedding,
  type Logger,
  lanesToHex,
  listCollections,
  openCollection,
  type Ports,
  type RowCounts,
  reasonOf,
  type SegmentOwner,
  SiltError,
  shardRefs,
  type VectorField,
} from "@silt/core";
import {
  auditSegment,
  makeWorkFolder,
  openSegmentFile,
  readBundle,
  removeWorkFolder,
  type SegmentMeta,
} from "@silt/segment";

/** Norms of the embeddings of one parent's records. */
export interface ParentNorms {
  readonly parent: string | null;
  readonly records: number;
  readonly zeroVectors: number;
  readonly normMin: number;
  readonly normMean: number;
  readonly normMax: number;
}

export interface Inspection {
  readonly target: string;
  readonly kind: "delta" | "segment" | "export" | "unknown";
  readonly bytes: number;
  readonly sha256: string;
  readonly sound: boolean;
  /** Why it is not sound. */
  readonly problems: readonly string[];
  readonly collection: string | null;
  readonly shard: string | null;
  readonly runId: string | null;
  readonly source: string | null;
  readonly firstSequence: number | null;
  readonly lastSequence: number | null;
  readonly vectors: VectorField | null;
  readonly rows: RowCounts;
  readonly replaced: number;
  readonly sums: { readonly v: string; readonly t: string } | null;
  readonly zeroVectors: number;
  /** The parents with the most records first; at most {@link PARENTS_MAX}. */
  readonly parents: readonly ParentNorms[];
}

export const PARENTS_MAX = 50;
const PARENTS_TRACKED_MAX = 100_000;
const RUN_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * Inspects a file, a key of the store, or a run by its id. Throws `invalid` when there is no such thing.
 * The copy that it works on lies in `tempRoot`, a store's own is swept when this process is killed.
 */
export async function inspectTarget(
  ports: Ports,
  target: string,
  tempRoot = tmpdir(),
): Promise<Inspection> {
  const folder = makeWorkFolder(tempRoot);
  try {
    // A copy, so that what is looked at cannot change meanwhile, and nothing is left beside it.
    const path = join(folder, "target");
    await fetchTarget(ports, target, path);
    return await inspectFile(target, path, folder, ports.logger);
  } finally {
    removeWorkFolder(folder, ports.logger);
  }
}

async function fetchTarget(ports: Ports, target: string, path: string): Promise<void> {
  const file = fileAt(target);
  if (file !== undefined) return copyTarget(target, file, path);
  const key = RUN_ID.test(target) ? await bundleKeyOf(ports, target) : target;
  const found = key === undefined ? { outcome: "absent" as const } : await readKey(ports, key);
  if (found.outcome === "absent") {
    throw new SiltError(
      "invalid",
      `Cannot inspect "${target}": there is no such file, key or run in this store`,
    );
  }
  const { writeFile } = await import("node:fs/promises");
  await writeFile(path, found.body);
}

/** Undefined where no file of this machine can be. */
function fileAt(target: string): Stats | undefined {
  try {
    return statSync(target, { throwIfNoEntry: false });
  } catch {
    return undefined; // e.g. too long for a path
  }
}

/** A pipe would be waited for, and a device has no end. */
function copyTarget(target: string, file: Stats, path: string): void {
  if (!file.isFile()) {
    throw new SiltError("invalid", `Cannot inspect "${target}": it is no file`);
  }
  try {
    copyFileSync(target, path);
  } catch (cause) {
    const message = `Cannot inspect "${target}": ${reasonOf(cause)}`;
    throw new SiltError("unavailable", message, { cause });
  }
}

/** What cannot be a key is no key of this store. */
async function readKey(ports: Ports, key: string) {
  try {
    return await ports.objects.read(key);
  } catch (error) {
    if (error instanceof SiltError && error.kind === "invalid") {
      return { outcome: "absent" as const };
    }
    throw error;
  }
}

async function bundleKeyOf(ports: Ports, runId: string): Promise<string | undefined> {
  for (const name of await listCollections(ports)) {
    const opened = await openCollection(ports, name);
    if (opened === undefined) continue;
    for (const shard of shardRefs(opened.identity)) {
      const [state] = await ports.log.readRunIds([{ shard, runId }]);
      if (state?.state !== "registered") continue;
      const [run] = await ports.log.readRuns(shard, { after: state.sequence - 1, limit: 1 });
      return run?.delta.key;
    }
  }
  return undefined;
}

const SQLITE_MAGIC = "SQLite format 3\0";

async function inspectFile(
  target: string,
  path: string,
  folder: string,
  logger: Logger,
): Promise<Inspection> {
  const digest = digestOf(path);
  const base = { ...NOTHING, target, ...digest };
  if (startsWith(path, SQLITE_MAGIC)) {
    return { ...base, ...inspectSqlite(path, undefined, logger) };
  }
  const sqlitePath = join(folder, "delta.sqlite");
  const bundle = await readBundle(path, sqlitePath);
  if (bundle.outcome === "poison") return { ...base, problems: [bundle.reason] };
  const { manifest } = bundle;
  return { ...base, ...inspectSqlite(sqlitePath, manifest, logger), source: manifest.source };
}

const NOTHING = {
  kind: "unknown",
  sound: false,
  problems: [],
  collection: null,
  shard: null,
  runId: null,
  source: null,
  firstSequence: null,
  lastSequence: null,
  vectors: null,
  rows: { put: 0, patch: 0, delete: 0 },
  replaced: 0,
  sums: null,
  zeroVectors: 0,
  parents: [],
} as const;

function digestOf(path: string): { readonly bytes: number; readonly sha256: string } {
  const hash = createHash("sha256");
  const descriptor = openSync(path, "r");
  const chunk = Buffer.allocUnsafe(1024 * 1024);
  let bytes = 0;
  try {
    for (;;) {
      const read = readSync(descriptor, chunk, 0, chunk.length, null);
      if (read === 0) break;
      hash.update(chunk.subarray(0, read));
      bytes += read;
    }
  } finally {
    closeSync(descriptor);
  }
  return { bytes, sha256: hash.digest("hex") };
}

function startsWith(path: string, text: string): boolean {
  const descriptor = openSync(path, "r");
  try {
    const head = Buffer.alloc(text.length);
    readSync(descriptor, head, 0, head.length, 0);
    return head.toString("latin1") === text;
  } finally {
    closeSync(descriptor);
  }
}

/** The file by its own meta table, held against the manifest of its bundle if there is one. */
function inspectSqlite(
  path: string,
  manifest: DeltaManifest | undefined,
  logger: Logger,
): Partial<Inspection> {
  let meta: SegmentMeta | undefined;
  try {
    const file = openSegmentFile(path, logger);
    meta = file.meta;
    file[Symbol.dispose]();
  } catch (error) {
    return { problems: [(error as Error).message] };
  }
  if (meta === undefined) return { problems: ["the meta table is not that of a Silt file"] };
  const owner = ownerOf(meta);
  if (owner === undefined) return { problems: ["meta vectors are not those of a collection"] };
  const audit = auditSegment(path, owner, manifest ? { runId: manifest.runId } : {}, logger);
  const sums = { v: lanesToHex(audit.sums.v), t: lanesToHex(audit.sums.t) };
  const told = manifest === undefined || JSON.stringify(manifest.sums) === JSON.stringify(sums);
  const problems = told
    ? audit.problems
    : [...audit.problems, "its digest sums are not those of its manifest"];
  const sequence = (text: string) => (text === "0" ? null : Number(text));
  return {
    kind: meta.kind,
    sound: problems.length === 0,
    problems,
    collection: owner.collection,
    shard: owner.shard === "" ? null : owner.shard,
    runId: meta.runId === "" ? null : meta.runId,
    firstSequence: sequence(meta.firstSequence),
    lastSequence: sequence(meta.lastSequence),
    vectors: owner.vectors[0] ?? null,
    rows: audit.rows,
    replaced: audit.replaced,
    sums,
    ...(audit.problems.length === 0 ? normsOf(path, logger) : {}),
  };
}

function ownerOf(meta: SegmentMeta): SegmentOwner | undefined {
  const { collection, storeId, shard } = meta;
  const field = fieldOf(meta.vectors);
  return field && { collection, storeId, shard, vectors: [field] };
}

/** The one vector field that the file says it has, if it is one. */
function fieldOf(vectors: string): VectorField | undefined {
  try {
    const [field] = JSON.parse(vectors) as [VectorField];
    const isSound =
      canonicalJson([field]) === vectors &&
      Number.isInteger(field.dimension) &&
      field.dimension >= 1 &&
      field.dimension <= DIMENSION_MAX;
    return isSound ? field : undefined;
  } catch {
    return undefined;
  }
}

interface Norms {
  records: number;
  zero: number;
  min: number;
  max: number;
  sum: number;
}

function normsOf(path: string, logger: Logger): Pick<Inspection, "zeroVectors" | "parents"> {
  const byParent = new Map<string | null, Norms>();
  let zeroVectors = 0;
  using file = openSegmentFile(path, logger);
  for (let after = ""; ; ) {
    const page = file.page(after, 1_000);
    for (const row of page) {
      if (row.operation !== "put") continue;
      const norm = Math.hypot(...decodeEmbedding(row.embedding));
      if (norm === 0) zeroVectors += 1;
      const norms = byParent.get(row.parent) ?? newNorms();
      if (byParent.size < PARENTS_TRACKED_MAX) byParent.set(row.parent, norms);
      addNorm(norms, norm);
    }
    const last = page.at(-1);
    if (last === undefined || page.length < 1_000) break;
    after = last.id;
  }
  const parents = [...byParent]
    .map(([parent, norms]) => ({
      parent,
      records: norms.records,
      zeroVectors: norms.zero,
      normMin: norms.min,
      normMean: norms.sum / norms.records,
      normMax: norms.max,
    }))
    .sort((a, b) => b.zeroVectors - a.zeroVectors || b.records - a.records);
  return { zeroVectors, parents: parents.slice(0, PARENTS_MAX) };
}

const newNorms = (): Norms => ({
  records: 0,
  zero: 0,
  min: Number.POSITIVE_INFINITY,
  max: 0,
  sum: 0,
});

function addNorm(norms: Norms, norm: number): void {
  norms.records += 1;
  if (norm === 0) norms.zero += 1;
  norms.min = Math.min(norms.min, norm);
  norms.max = Math.max(norms.max, norm);
  norms.sum += norm;
}
