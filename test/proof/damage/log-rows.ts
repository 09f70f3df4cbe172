/** The log's database behind Silt's back: its rows, and edits of them that no Silt process makes. */
import { copyFileSync, readFileSync, rmSync } from "node:fs";
import Database from "better-sqlite3";

export type SqlValue = string | number | bigint | null | Buffer;
export type LogRow = Readonly<Record<string, SqlValue>>;

export function withLog<T>(path: string, work: (db: Database.Database) => T): T {
  const db = new Database(path);
  try {
    return work(db);
  } finally {
    db.close();
  }
}

/** All rows of a table, in the order of its key. */
export function rowsOf(path: string, table: string): readonly LogRow[] {
  return withLog(path, (db) => {
    const rows = db.prepare(`SELECT * FROM ${table}`).safeIntegers().all();
    return rows as readonly LogRow[];
  });
}

/** Edits rows as a disk does: no trigger sees it. */
export function editUnseen(path: string, work: (db: Database.Database) => void): void {
  withLog(path, (db) => {
    db.transaction(() => {
      const triggers = db
        .prepare<[], { name: string; sql: string }>(
          "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'",
        )
        .all();
      for (const { name } of triggers) db.exec(`DROP TRIGGER ${name}`);
      work(db);
      for (const { sql } of triggers) db.exec(sql);
    })();
  });
}

/** The bytes of a log after everything in its WAL has moved into it; nobody else has it open. */
export function checkpointed(path: string): Uint8Array {
  withLog(path, (db) => db.pragma("wal_checkpoint(TRUNCATE)"));
  return readFileSync(path);
}

/** What every row of every table says, or undefined when SQLite finds the file unsound. */
export function soundContent(path: string): string | undefined {
  const copy = `${path}.copy`;
  try {
    copyFileSync(path, copy);
    return withLog(copy, (db) => {
      if (db.pragma("integrity_check", { simple: true }) !== "ok") return undefined;
      const tables = db
        .prepare<[], { name: string; sql: string }>(
          "SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name",
        )
        .all();
      const rows = tables.map(({ name, sql }) => [
        sql,
        db.prepare(`SELECT * FROM ${name}`).raw().all(),
      ]);
      return JSON.stringify(rows);
    });
  } catch {
    return undefined;
  } finally {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(copy + suffix, { force: true });
  }
}
