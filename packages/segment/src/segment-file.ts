/** A closed segment or delta opened for reading: what readers and exports ask of one file. */
import { type Logger, type Row, type RowCounts, SiltError } from "@silt/core";
import { headProblems, readMeta } from "./audit.ts";
import type { SegmentMeta } from "./schema.ts";
import { rowOf, type StoredRow } from "./segment-rows.ts";
import { closeFile, openForReading, type SqliteDatabase, sqliteError } from "./sqlite-file.ts";

const COLUMNS = "operation, id, parent, sequence, document, metadata, embedding";

/** One embedding with the ordinal of its row, in rowid order. */
export interface StoredVector {
  readonly row: number;
  readonly embedding: Uint8Array;
}

export interface SegmentFile extends Disposable {
  readonly path: string;
  readonly meta: SegmentMeta | undefined;
  /** The row about an id, if this segment has one. */
  row(id: string): Row | undefined;
  /** The put at a rowid that {@link vectors} named. */
  rowAt(row: number): Row | undefined;
  /** Ids of the puts of a parent. */
  childrenOf(parent: string): readonly string[];
  /** The run that replaced the parent last in this segment, so that older records of it are gone. */
  replacedAt(parent: string): number | undefined;
  /** All embeddings of puts, in rowid order. Throws `corrupt` for one of another dimension. */
  vectors(dimension: number): IterableIterator<StoredVector>;
  /** Rows in id order with `id > after`, at most `limit`. */
  page(after: string, limit: number): readonly Row[];
  /** True when some put or patch has this metadata key. */
  hasMetadataKey(key: string): boolean;
  counts(): RowCounts;
}

/**
 * Opens a closed file read-only. Throws `corrupt` when SQLite finds it damaged, or its schema is not
 * ours: a view in the place of a table runs whatever its author wrote, for as long as he likes.
 */
export function openSegmentFile(path: string, logger: Logger): SegmentFile {
  const db = openForReading(path, logger);
  const guarded = <T>(action: () => T): T => {
    try {
      return action();
    } catch (error) {
      throw sqliteError("read segment", path, error);
    }
  };
  try {
    return guarded(() => {
      checkHead(db);
      return segmentFileOf(db, guarded, logger);
    });
  } catch (error) {
    closeFile(db, logger);
    throw error;
  }
}

function checkHead(db: SqliteDatabase): void {
  const [problem] = headProblems(db);
  if (problem !== undefined) {
    throw new SiltError("corrupt", `Cannot read segment "${db.name}": ${problem}`);
  }
}

function segmentFileOf(
  db: SqliteDatabase,
  guarded: <T>(action: () => T) => T,
  logger: Logger,
): SegmentFile {
  const byId = db.prepare<[string], StoredRow>(`SELECT ${COLUMNS} FROM rows WHERE id = ?`);
  const byRow = db.prepare<[number], StoredRow>(`SELECT ${COLUMNS} FROM rows WHERE row = ?`);
  const children = db
    .prepare<[string], string>(
      "SELECT id FROM rows WHERE parent = ? AND operation = 'put' ORDER BY id",
    )
    .pluck();
  const replaced = db
    .prepare<[string], number>("SELECT sequence FROM replaced WHERE parent = ?")
    .pluck();
  const anyReplaced = db.prepare<[], number>("SELECT 1 FROM replaced LIMIT 1").pluck().get() === 1;
  const vectors = db.prepare<[], StoredVector>(
    "SELECT row, embedding FROM rows WHERE operation = 'put' ORDER BY row",
  );
  const page = db.prepare<[string, number], StoredRow>(
    `SELECT ${COLUMNS} FROM rows WHERE id > ? ORDER BY id LIMIT ?`,
  );
  const path = db.name;
  return {
    path,
    meta: readMeta(db),
    row: (id) => guarded(() => optionalRow(byId.get(id))),
    rowAt: (row) => guarded(() => optionalRow(byRow.get(row))),
    childrenOf: (parent) => guarded(() => children.all(parent).map(checkedId)),
    replacedAt: (parent) => (anyReplaced ? guarded(() => replaced.get(parent)) : undefined),
    vectors: (dimension) => checkedVectors(vectors, dimension, path),
    page: (after, limit) => guarded(() => page.all(after, limit).map((stored) => rowOf(stored))),
    hasMetadataKey: (key) => guarded(() => hasKey(db, key)),
    counts: () => guarded(() => countOperations(db)),
    [Symbol.dispose]: () => closeFile(db, logger),
  };
}

function checkedId(id: unknown): string {
  if (typeof id === "string") return id;
  throw new SiltError("corrupt", 'Cannot read row: its id is no text; run "silt verify"');
}

/** Readers copy them side by side into one block, and find rows by these numbers again. */
function* checkedVectors(
  vectors: { iterate(): IterableIterator<StoredVector> },
  dimension: number,
  path: string,
): Generator<StoredVector, void> {
  const vectorBytes = dimension * Float32Array.BYTES_PER_ELEMENT;
  try {
    for (const vector of vectors.iterate()) {
      const bytes = (vector.embedding as Uint8Array | null)?.byteLength;
      if (bytes !== vectorBytes || !Number.isSafeInteger(vector.row)) {
        throw new SiltError(
          "corrupt",
          `Cannot read row ${vector.row}: its vector has ${bytes} bytes, expected ${vectorBytes}; run "silt verify"`,
        );
      }
      yield vector;
    }
  } catch (error) {
    throw sqliteError("read segment", path, error);
  }
}

function optionalRow(stored: StoredRow | undefined): Row | undefined {
  return stored === undefined ? undefined : rowOf(stored);
}

function hasKey(db: SqliteDatabase, key: string): boolean {
  const found = db
    .prepare<[string], number>(
      `SELECT 1 FROM rows WHERE metadata <> '{}'
       AND EXISTS (SELECT 1 FROM json_each(rows.metadata) AS member WHERE member.key = ?) LIMIT 1`,
    )
    .pluck()
    .get(key);
  return found === 1;
}

function countOperations(db: SqliteDatabase): RowCounts {
  const counts = { put: 0, patch: 0, delete: 0 };
  const rows = db
    .prepare<[], { operation: Row["operation"]; rows: number }>(
      "SELECT operation, COUNT(*) AS rows FROM rows GROUP BY operation",
    )
    .all();
  for (const { operation, rows: count } of rows) counts[operation] = count;
  return counts;
}
