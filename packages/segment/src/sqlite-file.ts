import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { type Logger, reasonOf, SiltError } from "@silt/core";
import Database from "better-sqlite3";
import { environmentError } from "./file-hash.ts";
import { layoutProblem } from "./page-layout.ts";
import { APPLICATION_ID, PAGE_BYTES, SCHEMA_VERSION } from "./schema.ts";

export type SqliteDatabase = Database.Database;

const SIDE_FILES = ["-wal", "-journal", "-shm"] as const;
/** A small cache wins for one-shot merges: the limit is random page I/O in the kernel. */
const CACHE_KIB = 8 * 1024;

const DAMAGE = ["SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"] as const;
/** What the machine does to any file; it says nothing about this one. */
const ENVIRONMENT = [
  "SQLITE_BUSY",
  "SQLITE_CANTOPEN",
  "SQLITE_FULL",
  "SQLITE_INTERRUPT",
  "SQLITE_IOERR",
  "SQLITE_LOCKED",
  "SQLITE_NOMEM",
  "SQLITE_PERM",
  "SQLITE_READONLY",
] as const;

/** Codes may be extended ones, such as `SQLITE_CORRUPT_INDEX`. */
function hasCode(error: unknown, codes: readonly string[]): boolean {
  const { code } = error as { code?: unknown };
  return (
    typeof code === "string" &&
    codes.some((known) => code === known || code.startsWith(`${known}_`))
  );
}

const isDamage = (error: unknown) => hasCode(error, DAMAGE);

/** True when a failure is the machine's: a full disk, too many open files, a lock. */
export function isEnvironment(error: unknown): boolean {
  if (error instanceof SiltError) return error.kind === "unavailable";
  return hasCode(error, ENVIRONMENT) || (error as { syscall?: unknown }).syscall !== undefined;
}

/**
 * Translates what SQLite throws, once: the machine's failures are `unavailable`; whatever else SQLite
 * says about a file is its damage, and what SQLite did not say is a bug.
 */
export function sqliteError(action: string, path: string, error: unknown): SiltError {
  if (error instanceof SiltError) return error;
  const said = hasCode(error, ["SQLITE"]);
  const kind = isEnvironment(error) ? "unavailable" : said ? "corrupt" : "internal";
  return new SiltError(kind, `Cannot ${action} "${path}": ${reasonOf(error)}`, { cause: error });
}

const HEADER_BYTES = 100;
const ROLLBACK_JOURNAL = 1;
const UTF_8 = 1;

/**
 * What is wrong with the header of a file that SQLite is about to open; undefined when it is sound.
 * A file in WAL mode would get side files at the first look, and one in UTF-16 cannot be attached.
 */
export function headerProblem(path: string): string | undefined {
  const header = firstPage(path);
  if (
    header.byteLength < HEADER_BYTES ||
    !header.toString("latin1").startsWith("SQLite format 3\0")
  ) {
    return "it is no SQLite file";
  }
  if (header[18] !== ROLLBACK_JOURNAL || header[19] !== ROLLBACK_JOURNAL) {
    return "it is in WAL mode, expected a closed file with a rollback journal";
  }
  return header.readUInt32BE(56) === UTF_8 ? layoutProblem(header) : "its text is not UTF-8";
}

function firstPage(path: string): Buffer {
  try {
    const descriptor = openSync(path, "r");
    try {
      const page = Buffer.alloc(PAGE_BYTES);
      return page.subarray(0, readSync(descriptor, page, 0, PAGE_BYTES, 0));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw environmentError("read", path, error);
  }
}

/** Runs `action`, noting what was done to which file and how long it took. */
export function logged<T>(logger: Logger, step: string, path: string, action: () => T): T {
  const start = performance.now();
  const result = action();
  logger.log("debug", `sqlite ${step}`, {
    path,
    ms: Math.round((performance.now() - start) * 1000) / 1000,
    at: new Date().toISOString(),
  });
  return result;
}

/**
 * Opens a private file for bulk writing: no journal, no syncs, one exclusive lock. A crash leaves
 * garbage, which is why such a file is checked and synced before anyone else sees it.
 */
export function openForBulk(path: string, logger: Logger): SqliteDatabase {
  const fresh = !existsSync(path);
  const db = logged(logger, "open", path, () => new Database(path));
  try {
    prepareForBulk(db, fresh);
    return db;
  } catch (error) {
    // On a full disk a file that is left open would take its space, although it is deleted.
    db.close();
    throw error;
  }
}

function prepareForBulk(db: SqliteDatabase, fresh: boolean): void {
  db.unsafeMode();
  if (fresh) db.pragma(`page_size = ${PAGE_BYTES}`);
  // Defensive mode ignores this pragma silently, so the answer is read.
  if (db.pragma("journal_mode = OFF", { simple: true }) !== "off") {
    throw new SiltError("internal", `Cannot switch the journal of "${db.name}" off`);
  }
  db.pragma("synchronous = OFF");
  db.pragma("locking_mode = EXCLUSIVE");
  db.pragma("temp_store = MEMORY");
  db.pragma(`cache_size = -${CACHE_KIB}`);
  db.pragma("secure_delete = ON");
  if (fresh) {
    // Written last: before the journal was off each of them took four syncs.
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${SCHEMA_VERSION}`);
  }
}

/** Opens a closed file for reading, with nothing in its schema trusted. */
export function openForReading(path: string, logger: Logger): SqliteDatabase {
  const unfit = headerProblem(path);
  if (unfit !== undefined) {
    throw new SiltError("corrupt", `Cannot open SQLite file "${path}": ${unfit}`);
  }
  let db: SqliteDatabase | undefined;
  try {
    db = logged(
      logger,
      "open",
      path,
      () => new Database(path, { readonly: true, fileMustExist: true }),
    );
    db.pragma("trusted_schema = OFF");
    db.pragma("query_only = ON");
    db.pragma(`cache_size = -${CACHE_KIB}`);
    return db;
  } catch (error) {
    db?.close();
    throw sqliteError("open SQLite file", path, error);
  }
}

export function closeFile(db: SqliteDatabase, logger: Logger): void {
  const path = db.name;
  logged(logger, "close", path, () => db.close());
}

/** Throws `internal` unless the file is closed: nobody holds a lock and no side file is left. */
export function checkClosed(path: string, logger: Logger): void {
  logged(logger, "lock check", path, () => {
    const left = () => SIDE_FILES.find((suffix) => existsSync(path + suffix));
    const before = left();
    if (before !== undefined) {
      throw new SiltError("internal", `Cannot publish "${path}": "${before}" lies beside it`);
    }
    const db = new Database(path, { fileMustExist: true, timeout: 0 });
    try {
      db.exec("BEGIN EXCLUSIVE; ROLLBACK");
    } catch (cause) {
      throw new SiltError("internal", `Cannot publish "${path}": it is still open`, { cause });
    } finally {
      db.close();
    }
    const after = left();
    if (after !== undefined) {
      throw new SiltError("internal", `Cannot publish "${path}": "${after}" lies beside it`);
    }
  });
}

/** What `PRAGMA integrity_check` says about an open file; undefined when it says "ok". */
export function integrityProblem(db: SqliteDatabase, logger: Logger): string | undefined {
  return logged(logger, "integrity check", db.name, () => {
    try {
      const answer = db.pragma("integrity_check(3)") as { integrity_check: string }[];
      const lines = answer.flatMap((row) => row.integrity_check.split("\n"));
      if (lines.length === 1 && lines[0] === "ok") return undefined;
      return lines.filter((line) => !line.startsWith("***")).join("; ");
    } catch (error) {
      if (isDamage(error)) return reasonOf(error);
      throw sqliteError("check", db.name, error);
    }
  });
}

/** Of the build that all files are read and written with. */
export function sqliteVersion(): string {
  const db = new Database(":memory:");
  try {
    return db.prepare<[], string>("SELECT sqlite_version()").pluck().get() ?? "unknown";
  } finally {
    db.close();
  }
}
