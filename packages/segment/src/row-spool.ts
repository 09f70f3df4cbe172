/** A temporary file of rows, for input that is checked whole before any of it is written. */
import { join } from "node:path";
import { canonicalJson, type Logger, type PatchRow, type PutRow, SiltError } from "@silt/core";
import type Database from "better-sqlite3";
import { rowOf, type StoredRow } from "./segment-rows.ts";
import { closeFile, openForBulk, sqliteError } from "./sqlite-file.ts";
import { makeWorkFolder, removeWorkFolder } from "./work-folder.ts";

export interface SpooledRow {
  readonly row: PutRow | PatchRow;
  /** Line or index of the input. */
  readonly line: number;
}

export interface SpoolPlace {
  readonly line: number;
  readonly shard: string;
  /** Rows of one group come out together, at the place of the first. */
  readonly group: string | null;
}

export interface RowSpool extends Disposable {
  readonly count: number;
  /** Takes a row. The same id with the same content again is left out; with another it is `invalid`. */
  add(row: PutRow | PatchRow, place: SpoolPlace): void;
  /** The rows of one shard, group by group, else in the order that they came. */
  rows(shard: string): Generator<SpooledRow & { readonly group: string | null }, void>;
}

const TABLE = `CREATE TABLE spool (
  line INTEGER PRIMARY KEY, shard TEXT NOT NULL, place INTEGER NOT NULL, grouped TEXT,
  operation TEXT NOT NULL, id TEXT NOT NULL UNIQUE, parent TEXT, document TEXT, metadata TEXT NOT NULL, embedding BLOB
); CREATE TABLE groups (grouped TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID`;

type SpoolRow = StoredRow & { readonly line: number; readonly grouped: string | null };

/**
 * Makes an empty spool in a work folder of `tempRoot`, named like all others; disposing removes it.
 * Throws `unavailable` when the disk is full, here and wherever it is used.
 */
export function createRowSpool(tempRoot: string, logger: Logger): RowSpool {
  const folder = makeWorkFolder(tempRoot);
  const path = join(folder, "spool.sqlite");
  let db: Database.Database | undefined;
  const dispose = () => {
    if (db?.open) closeFile(db, logger);
    removeWorkFolder(folder, logger);
  };
  try {
    db = spooling(path, () => openForBulk(path, logger));
    return spoolIn(db, path, dispose);
  } catch (error) {
    dispose();
    throw error;
  }
}

function spooling<T>(path: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw sqliteError("spool to", path, error);
  }
}

function spoolIn(db: Database.Database, path: string, dispose: () => void): RowSpool {
  // Sorting a large input must not happen in memory.
  db.pragma("temp_store = FILE");
  spooling(path, () => db.exec(`${TABLE}; BEGIN`));
  const insert = db.prepare(
    "INSERT INTO spool VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
  );
  const earlier = db.prepare<[string], SpoolRow>("SELECT * FROM spool WHERE id = ?");
  const findGroup = db.prepare<[string], number>("SELECT place FROM groups WHERE grouped = ?");
  findGroup.pluck();
  const addGroup = db.prepare("INSERT INTO groups VALUES (?, ?)");
  let count = 0;

  const placeOf = (group: string | null, line: number): number => {
    if (group === null) return line;
    const known = findGroup.get(group);
    if (known === undefined) addGroup.run(group, line);
    return known ?? line;
  };
  return {
    get count() {
      return count;
    },
    add(row, { line, shard, group }) {
      const { operation, id, document } = row;
      const parent = row.operation === "put" ? row.parent : null;
      const embedding = row.operation === "put" ? row.embedding : null;
      const metadata = canonicalJson(row.metadata);
      const isNew = spooling(path, () => {
        const place = placeOf(group, line);
        const values = [line, shard, place, group, operation, id, parent, document, metadata];
        return insert.run(...values, embedding).changes === 1;
      });
      if (isNew) count += 1;
      else checkSame(earlier.get(id) as SpoolRow, row, line);
    },
    *rows(shard) {
      try {
        if (db.inTransaction) db.exec("COMMIT");
        const select = db.prepare<[string], SpoolRow>(
          "SELECT * FROM spool WHERE shard = ? ORDER BY place, line",
        );
        for (const stored of select.iterate(shard)) {
          const row = rowOf({ ...stored, sequence: 0 }) as PutRow | PatchRow;
          yield { row, line: stored.line, group: stored.grouped };
        }
      } catch (error) {
        throw sqliteError("read spool", path, error);
      }
    },
    [Symbol.dispose]: dispose,
  };
}

function checkSame(before: SpoolRow, row: PutRow | PatchRow, line: number): void {
  const embedding = row.operation === "put" ? row.embedding : null;
  const same =
    before.operation === row.operation &&
    before.document === row.document &&
    before.metadata === canonicalJson(row.metadata) &&
    before.parent === (row.operation === "put" ? row.parent : null) &&
    Buffer.compare(before.embedding ?? Buffer.alloc(0), embedding ?? Buffer.alloc(0)) === 0;
  if (same) return;
  throw new SiltError(
    "invalid",
    `Cannot ${row.operation} record "${row.id}": line ${line} repeats the id of line ${before.line} with different content`,
  );
}
