import {
  canonicalJson,
  type Row,
  type RowCounts,
  type SegmentContent,
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

/** The domain's row of a stored one; `sequence` overrules the stored number of a delta. */
export function rowOf(stored: StoredRow, sequence = stored.sequence): Row {
  const { id, document } = stored;
  if (stored.operation === "delete") return { operation: "delete", id, sequence };
  const metadata = JSON.parse(stored.metadata as string);
  if (stored.operation === "patch") return { operation: "patch", id, document, metadata, sequence };
  const embedding = stored.embedding as Uint8Array;
  return { operation: "put", id, parent: stored.parent, embedding, document, metadata, sequence };
}
