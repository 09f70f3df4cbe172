import {
  addLanes,
  canonicalJson,
  type DigestSums,
  decodeEmbedding,
  documentProblem,
  embeddingProblem,
  idProblem,
  isSiltError,
  type Logger,
  lanesOf,
  metadataShapeProblem,
  type RowCounts,
  reasonOf,
  type SegmentOwner,
  textDigest,
  type VectorField,
  vectorDigest,
  ZERO_LANES,
} from "@silt/core";
import { type Placement, placementOf } from "./placement.ts";
import {
  APPLICATION_ID,
  META_KEYS,
  ROW_COLUMNS,
  SCHEMA_STATEMENTS,
  SCHEMA_VERSION,
  type SegmentMeta,
} from "./schema.ts";
import { digestHalves } from "./segment-rows.ts";
import {
  closeFile,
  headerProblem,
  integrityProblem,
  isEnvironment,
  openForReading,
  type SqliteDatabase,
} from "./sqlite-file.ts";
import { isStoredText, oversizeProblem } from "./stored-bounds.ts";

/** What a file was found to hold; `problems` is empty when it is sound. */
export interface SegmentAudit {
  readonly problems: readonly string[];
  readonly meta: SegmentMeta | undefined;
  readonly rows: RowCounts;
  readonly replaced: number;
  readonly sums: DigestSums;
}

/** More of the same would not help anyone. */
const PROBLEMS_MAX = 10;
/** Of a strange value in a message; messages about a bundle are kept for good. */
const SHOWN_CHARS_MAX = 80;
const META_BYTES_MAX = 64 * 1024;
const KINDS = ["delta", "segment", "export"];

const shown = (value: unknown): string => String(value).slice(0, SHOWN_CHARS_MAX).toWellFormed();

/** Reads one file whole and checks all that can be checked in it: the trust of every merge and reader. */
export function auditSegment(
  path: string,
  owner: SegmentOwner,
  expect: Partial<SegmentMeta>,
  logger: Logger,
): SegmentAudit {
  const problems: string[] = [];
  let db: SqliteDatabase | undefined;
  let meta: SegmentMeta | undefined;
  const nothing = {
    rows: { put: 0, patch: 0, delete: 0 },
    replaced: 0,
    sums: { v: ZERO_LANES, t: ZERO_LANES },
  };
  try {
    const unfit = headerProblem(path);
    if (unfit !== undefined) return { problems: [unfit], meta, ...nothing };
    db = openForReading(path, logger);
    problems.push(...headProblems(db));
    if (problems.length > 0) return { problems, meta, ...nothing };
    const unsound = integrityProblem(db, logger);
    if (unsound !== undefined)
      return { problems: [`integrity_check: ${unsound}`], meta, ...nothing };
    meta = readMeta(db);
    problems.push(...metaProblems(meta, owner, expect));
    if (problems.length > 0) return { problems, meta, ...nothing };
    const range = rangeOf(meta as SegmentMeta);
    if (range === undefined) {
      return { problems: ["the range of runs in its meta table is none"], meta, ...nothing };
    }
    const oversize = oversizeProblem(db, (meta as SegmentMeta).kind);
    if (oversize !== undefined) return { problems: [oversize], meta, ...nothing };
    const rules = {
      range,
      field: owner.vectors[0] as VectorField,
      placement: placementOf(owner.shard),
    };
    return { meta, ...auditRows(db, rules, problems) };
  } catch (error) {
    // A full disk or too many open files must not look like damage: that would exclude a sound run.
    if (isEnvironment(error)) throw error;
    // What SQLite said, without the path of our temporary file: reasons are kept for good.
    const said = isSiltError(error) ? (error.cause ?? error) : error;
    return { problems: [...problems, reasonOf(said)], meta, ...nothing };
  } finally {
    if (db !== undefined) closeFile(db, logger);
  }
}

/**
 * Whose file it is, and that its schema is exactly ours: no trigger, view or generated column. Nothing
 * else may be asked of a file before.
 */
export function headProblems(db: SqliteDatabase): string[] {
  const applicationId = db.pragma("application_id", { simple: true });
  if (applicationId !== APPLICATION_ID) return [`application id is ${applicationId}, not Silt's`];
  const version = db.pragma("user_version", { simple: true });
  if (version !== SCHEMA_VERSION)
    return [`schema version is ${version}, expected ${SCHEMA_VERSION}`];
  const statements = db
    .prepare<[], { sql: string }>(
      "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql LIMIT 20",
    )
    .all()
    .map((row) => row.sql);
  const sound =
    statements.length === SCHEMA_STATEMENTS.length &&
    statements.every((sql, index) => sql === SCHEMA_STATEMENTS[index]);
  return sound ? [] : ["the schema is not that of a Silt file"];
}

/** The `meta` table, or undefined when a key is missing or strange. */
export function readMeta(db: SqliteDatabase): SegmentMeta | undefined {
  const found = db
    .prepare<[number, number, number], { key: string; value: string }>(
      "SELECT key, value FROM meta WHERE octet_length(key) <= ? AND octet_length(value) <= ? LIMIT ?",
    )
    .all(META_BYTES_MAX, META_BYTES_MAX, META_KEYS.length + 1);
  if (found.length !== META_KEYS.length) return undefined;
  const byKey = new Map(found.map((row) => [row.key, row.value]));
  if (!META_KEYS.every((key) => typeof byKey.get(key) === "string")) return undefined;
  return Object.fromEntries(byKey) as unknown as SegmentMeta;
}

function metaProblems(
  meta: SegmentMeta | undefined,
  owner: SegmentOwner,
  expect: Partial<SegmentMeta>,
): string[] {
  if (meta === undefined) return ["the meta table is not that of a Silt file"];
  if (!KINDS.includes(meta.kind)) {
    return [`meta kind is ${shown(meta.kind)}, expected one of ${KINDS.join(", ")}`];
  }
  const wanted: Partial<SegmentMeta> = {
    format: "1",
    requires: "[]",
    collection: owner.collection,
    storeId: owner.storeId,
    shard: owner.shard,
    vectors: canonicalJson(owner.vectors),
    ...expect,
  };
  return META_KEYS.filter((key) => wanted[key] !== undefined && wanted[key] !== meta[key]).map(
    (key) => `meta ${key} is ${shown(meta[key])}, expected ${wanted[key]}`,
  );
}

/** The sequence numbers that the rows of a file may have. */
interface RowRange {
  readonly first: bigint;
  readonly last: bigint;
}

const RANGE_NUMBER = /^(0|[1-9][0-9]{0,15})$/;

/** A delta cannot know its number, a segment stands for a range, an export for all that ever was. */
function rangeOf({ kind, firstSequence, lastSequence }: SegmentMeta): RowRange | undefined {
  if (kind === "export") return { first: 1n, last: BigInt(Number.MAX_SAFE_INTEGER) };
  if (!RANGE_NUMBER.test(firstSequence) || !RANGE_NUMBER.test(lastSequence)) return undefined;
  const [first, last] = [BigInt(firstSequence), BigInt(lastSequence)];
  if (kind === "delta") return first === 0n && last === 0n ? { first, last } : undefined;
  return first >= 1n && first <= last ? { first, last } : undefined;
}

/** JavaScript finds rows by number again. */
const ROW_NUMBERS: RowRange = { first: 0n, last: BigInt(Number.MAX_SAFE_INTEGER) };

const isWithin = (sequence: unknown, { first, last }: RowRange): boolean =>
  typeof sequence === "bigint" && sequence >= first && sequence <= last;

type RawRow = [
  operation: unknown,
  id: unknown,
  parent: unknown,
  sequence: unknown,
  va: unknown,
  vb: unknown,
  ta: unknown,
  tb: unknown,
  document: unknown,
  metadata: unknown,
  embedding: unknown,
  row: unknown,
];

interface RowRules {
  readonly range: RowRange;
  readonly field: VectorField;
  readonly placement: Placement;
}

function auditRows(db: SqliteDatabase, rules: RowRules, problems: string[]) {
  const rows = { put: 0, patch: 0, delete: 0 };
  let v = ZERO_LANES;
  let t = ZERO_LANES;
  const select = db.prepare(`SELECT ${ROW_COLUMNS}, row FROM rows`).raw().safeIntegers();
  const isText = textCheckOf(db);
  for (const raw of select.iterate() as IterableIterator<RawRow>) {
    const found = isText(raw) ? rowProblem(raw, rules) : "its text is not UTF-8";
    if (typeof found === "string") {
      problems.push(`row "${shown(raw[1])}": ${found}`);
      if (problems.length >= PROBLEMS_MAX) break;
      continue;
    }
    rows[raw[0] as keyof RowCounts] += 1;
    t = addLanes(t, lanesOf(found.t));
    if (found.v !== undefined) v = addLanes(v, lanesOf(found.v));
  }
  const replaced = auditReplaced(db, rules, problems);
  return { problems, rows, replaced, sums: { v, t } };
}

/** Says of a row whether its texts are what the file holds. */
function textCheckOf(db: SqliteDatabase): (raw: RawRow) => boolean {
  const names = ["id", "parent", "document", "metadata"] as const;
  const bytes = db.prepare<[unknown], Record<string, unknown>>(
    `SELECT ${names.map((name) => `CAST(${name} AS BLOB) AS ${name}`).join(", ")} FROM rows WHERE row = ?`,
  );
  return ([, id, parent, , , , , , document, metadata, , row]) =>
    [id, parent, document, metadata].every((text, index) =>
      isStoredText(text, () => bytes.get(row)?.[names[index] as string]),
    );
}

function auditReplaced(db: SqliteDatabase, rules: RowRules, problems: string[]): number {
  let replaced = 0;
  const select = db
    .prepare("SELECT parent, sequence, CAST(parent AS BLOB) FROM replaced")
    .raw()
    .safeIntegers();
  for (const [parent, sequence, bytes] of select.iterate() as IterableIterator<unknown[]>) {
    const found =
      idProblem(parent, "replaced parent") ??
      (isStoredText(parent, () => bytes) ? undefined : "a replaced parent is not UTF-8") ??
      rules.placement.replaced(parent as string) ??
      (isWithin(sequence, rules.range) ? undefined : `replaced parent has sequence ${sequence}`);
    if (found !== undefined && problems.length < PROBLEMS_MAX) problems.push(found);
    replaced += 1;
  }
  return replaced;
}

/** Both digests of a sound row, recomputed from its bytes, or what is wrong with it. */
function rowProblem(
  raw: RawRow,
  { range, field, placement }: RowRules,
): string | { readonly v: Buffer | undefined; readonly t: Buffer } {
  const [operation, id, parent, sequence, va, vb, ta, tb, document, metadata, embedding, at] = raw;
  const unfit =
    idProblem(id) ??
    (parent === null ? undefined : idProblem(parent, "parent")) ??
    placement.row(id as string, parent as string | null);
  if (unfit !== undefined) return unfit;
  if (!isWithin(at, ROW_NUMBERS)) return `its row number is ${at}`;
  if (!isWithin(sequence, range)) {
    return `sequence is ${sequence}, expected ${range.first} to ${range.last}`;
  }
  if (operation !== "put" && operation !== "patch" && operation !== "delete") {
    return "unknown operation";
  }
  if (
    operation !== "put" &&
    (parent !== null || embedding !== null || va !== null || vb !== null)
  ) {
    return `a ${operation} has a parent or a vector`;
  }
  if (operation === "delete" && (document !== null || metadata !== null))
    return "a delete has content";
  const text =
    (document === null ? undefined : documentProblem(document)) ??
    (operation === "delete" ? undefined : storedMetadataProblem(metadata, operation));
  if (text !== undefined) return text;
  const t = textDigest(
    operation,
    id as string,
    document as string | null,
    metadata as string | null,
  );
  const [thigh, tlow] = digestHalves(t);
  if (thigh !== ta || tlow !== tb) return "its text digest does not match its content";
  if (operation !== "put") return { v: undefined, t };

  if (!(embedding instanceof Uint8Array)) return "its embedding is no BLOB";
  if (embedding.byteLength !== field.dimension * 4) {
    return `its embedding has ${embedding.byteLength} bytes, expected ${field.dimension * 4}`;
  }
  const unsound = embeddingProblem(decodeEmbedding(embedding), field);
  if (unsound !== undefined) return unsound;
  const v = vectorDigest(id as string, parent as string | null, embedding);
  const [vhigh, vlow] = digestHalves(v);
  if (vhigh !== va || vlow !== vb) return "its vector digest does not match its content";
  return { v, t };
}

function storedMetadataProblem(metadata: unknown, operation: "put" | "patch"): string | undefined {
  if (typeof metadata !== "string") return "its metadata is no text";
  if (metadata === "{}") return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(metadata);
  } catch {
    return "its metadata is no JSON";
  }
  const unfit = metadataShapeProblem(parsed, operation === "patch" ? "allowed" : "refused");
  if (unfit !== undefined) return unfit;
  return canonicalJson(parsed) === metadata ? undefined : "its metadata is not canonical JSON";
}
