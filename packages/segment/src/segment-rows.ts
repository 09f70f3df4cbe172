import {
  canonicalJson,
  type Metadata,
  type Row,
  type RowCounts,
  type SegmentContent,
  SiltError,
  textDigest,
  vectorDigest,
} from "@silt/core";
import {
  CREATE_INDEXES,
  CREATE_TABLES,
  META_KEYS,
  ROW_COLUMNS,
  type SegmentMeta,
} from "./schema.ts";
import type { SqliteDatabase } from "./sqlite-file.ts";

/** Both halves of a digest, as the columns hold them. */
export function digestHalves(digest: Buffer): readonly [bigint, bigint] {
  return [digest.readBigInt64BE(0), digest.readBigInt64BE(8)];
}

/** Values of {@link ROW_COLUMNS} for a row, digests computed here, before insertion. */
export function rowValues(row: Row, sequence = row.sequence): unknown[] {
  if (row.operation === "delete") {
    const t = digestHalves(textDigest("delete", row.id, null, null));
    return ["delete", row.id, null, sequence, null, null, ...t, null, null, null];
  }
  const metadata = canonicalJson(row.metadata);
  const t = digestHalves(textDigest(row.operation, row.id, row.document, metadata));
  if (row.operation === "patch") {
    return ["patch", row.id, null, sequence, null, null, ...t, row.document, metadata, null];
  }
  const v = digestHalves(vectorDigest(row.id, row.parent, row.embedding));
  return ["put", row.id, row.parent, sequence, ...v, ...t, row.document, metadata, row.embedding];
}

export const INSERT_ROW = `INSERT INTO rows (${ROW_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

export function createTables(db: SqliteDatabase): void {
  db.exec(CREATE_TABLES);
}

/** Indexes come last: building them over sorted rows is cheaper than keeping them. */
export function createIndexes(db: SqliteDatabase): void {
  db.exec(CREATE_INDEXES);
}

export function writeMeta(db: SqliteDatabase, meta: SegmentMeta): void {
  const insert = db.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)");
  for (const key of META_KEYS) insert.run(key, meta[key]);
}

/** Fills an empty file with a content, rows in id order; counts what it wrote. */
export function writeContent(
  db: SqliteDatabase,
  content: SegmentContent,
  meta: SegmentMeta,
): RowCounts {
  const counts = { put: 0, patch: 0, delete: 0 };
  db.exec("BEGIN");
  createTables(db);
  const insert = db.prepare(INSERT_ROW);
  const ids = [...content.rows.keys()].sort();
  for (const id of ids) {
    const row = content.rows.get(id) as Row;
    insert.run(rowValues(row));
    counts[row.operation] += 1;
  }
  const replace = db.prepare("INSERT INTO replaced (parent, sequence) VALUES (?, ?)");
  for (const [parent, sequence] of content.replaced) replace.run(parent, sequence);
  writeMeta(db, meta);
  createIndexes(db);
  db.exec("COMMIT");
  return counts;
}

/** A row as SQLite gives it, without digests. */
export interface StoredRow {
  readonly operation: Row["operation"];
  readonly id: string;
  readonly parent: string | null;
  readonly sequence: number;
  readonly document: string | null;
  readonly metadata: string | null;
  readonly embedding: Uint8Array | null;
}

/**
 * The domain's row of a stored one; `sequence` overrules the stored number of a delta. Throws `corrupt`
 * for what no writer stores: readers trust a segment's hash, which says nothing of who made it.
 */
export function rowOf(stored: StoredRow, sequence = stored.sequence): Row {
  const { operation, id, parent, document } = stored;
  if (typeof id !== "string") throw damagedRow(stored, "its id is no text");
  if (operation === "delete") return { operation, id, sequence };
  if (document !== null && typeof document !== "string") {
    throw damagedRow(stored, "its document is no text");
  }
  const metadata = metadataOf(stored);
  if (operation === "patch") return { operation, id, document, metadata, sequence };
  if (operation !== "put") throw damagedRow(stored, "its operation is unknown");
  if (parent !== null && typeof parent !== "string") {
    throw damagedRow(stored, "its parent is no text");
  }
  const embedding = stored.embedding as unknown;
  if (!(embedding instanceof Uint8Array) || embedding.byteLength % 4 !== 0) {
    throw damagedRow(stored, "its vector is none");
  }
  return { operation, id, parent, embedding, document, metadata, sequence };
}

function metadataOf(stored: StoredRow): Metadata {
  let metadata: unknown;
  try {
    metadata = JSON.parse(stored.metadata as string);
  } catch {
    metadata = undefined;
  }
  const isFlat =
    metadata !== null &&
    typeof metadata === "object" &&
    !Array.isArray(metadata) &&
    Object.values(metadata).every((value) => value === null || typeof value !== "object");
  if (!isFlat) throw damagedRow(stored, "its metadata is no flat JSON object");
  return metadata as Metadata;
}

function damagedRow({ id }: StoredRow, state: string): SiltError {
  const name = String(id).slice(0, 80).toWellFormed();
  return new SiltError("corrupt", `Cannot read row "${name}": ${state}; run "silt verify"`);
}
