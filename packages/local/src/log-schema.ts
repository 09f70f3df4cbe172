import { FORMAT, SiltError } from "@silt/core";
import Database from "better-sqlite3";
import { digestStatements, insertSums, prepareDigests } from "./row-digests.ts";

/** "SLOG" in ASCII: tells the log from the SQLite files that hold records. */
export const LOG_APPLICATION_ID = 0x534c4f47;
export const LOG_SCHEMA_VERSION = 1;

/**
 * The tables of `log.sqlite`. `partition` is `<collection>/<storeId>/<shard>`. Rows of `heads`,
 * `run_ids`, `leases` and `guards` are never deleted: what they remember must survive everything. `digest`
 * and `sums` are kept by triggers (`row-digests.ts`).
 */
const TABLES = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB) WITHOUT ROWID;
CREATE TABLE heads (
  partition TEXT PRIMARY KEY,
  sequence INTEGER NOT NULL,
  runs_hash TEXT NOT NULL,
  floor TEXT NOT NULL,
  excluding TEXT,
  exclude_rev INTEGER NOT NULL,
  digest BLOB
) WITHOUT ROWID;
CREATE TABLE runs (
  partition TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  run TEXT NOT NULL,
  digest BLOB,
  PRIMARY KEY (partition, sequence)
) WITHOUT ROWID;
-- sequence is null when the run was abandoned
CREATE TABLE run_ids (
  partition TEXT NOT NULL,
  run_id TEXT NOT NULL,
  sequence INTEGER,
  digest BLOB,
  PRIMARY KEY (partition, run_id)
) WITHOUT ROWID;
-- versions that were ever pinned or retired
CREATE TABLE versions (
  partition TEXT NOT NULL,
  version INTEGER NOT NULL,
  commit_id TEXT NOT NULL,
  item TEXT NOT NULL,
  digest BLOB,
  PRIMARY KEY (partition, version, commit_id)
) WITHOUT ROWID;
CREATE TABLE applied (
  partition TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  applied_through INTEGER NOT NULL,
  digest BLOB
) WITHOUT ROWID;
CREATE TABLE guards (
  family TEXT NOT NULL,
  uri TEXT NOT NULL,
  rev INTEGER NOT NULL,
  guard TEXT NOT NULL,
  digest BLOB,
  PRIMARY KEY (family, uri)
) WITHOUT ROWID;
-- holder is null when the lease is free; the epoch stays
CREATE TABLE leases (
  partition TEXT PRIMARY KEY,
  epoch INTEGER NOT NULL,
  holder TEXT,
  ttl_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  digest BLOB
) WITHOUT ROWID;
CREATE TABLE hints (
  hint INTEGER PRIMARY KEY,
  collection TEXT NOT NULL,
  store_id TEXT NOT NULL,
  shard TEXT NOT NULL,
  UNIQUE (collection, store_id, shard)
);
${digestStatements()}
`;

/** Fills a new, private database file. */
export function createLogSchema(db: Database.Database): void {
  prepareDigests(db);
  db.pragma(`application_id = ${LOG_APPLICATION_ID}`);
  db.pragma(`user_version = ${LOG_SCHEMA_VERSION}`);
  db.transaction(() => {
    db.exec(TABLES);
    insertSums(db);
    const insert = db.prepare("INSERT INTO meta (key, value) VALUES (?, ?)");
    insert.run("format", JSON.stringify(FORMAT));
    insert.run("requires", "[]");
  })();
}

const STATEMENTS = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql";

/** The statements that `sqlite_schema` of a sound log holds. */
function soundStatements(): readonly string[] {
  const db = new Database(":memory:");
  try {
    db.exec(TABLES);
    return db.prepare<[], string>(STATEMENTS).pluck().all();
  } finally {
    db.close();
  }
}

/**
 * Throws `invalid` unless the open database is a log that this version of Silt understands, `corrupt`
 * when its tables are not those that it was made with: one flipped bit renames a column.
 */
export function checkLogSchema(db: Database.Database): void {
  const refuse = (state: string, advice: string): never => {
    throw new SiltError("invalid", `Cannot open log "${db.name}": ${state}, ${advice}`);
  };
  const applicationId = db.pragma("application_id", { simple: true });
  if (applicationId !== LOG_APPLICATION_ID) {
    refuse(`its application id is ${applicationId}`, "expected a log that Silt made");
  }
  const version = db.pragma("user_version", { simple: true });
  if (version !== LOG_SCHEMA_VERSION) {
    refuse(`its schema is version ${version}`, `expected ${LOG_SCHEMA_VERSION}; upgrade Silt`);
  }
  const read = db.prepare<[string], string>("SELECT value FROM meta WHERE key = ?").pluck();
  const [format, requires] = [read.get("format"), read.get("requires")];
  if (format !== JSON.stringify(FORMAT) || requires !== "[]") {
    refuse(
      `its format is ${format} and it requires ${requires}`,
      `expected format ${FORMAT} without requirements; upgrade Silt`,
    );
  }
  const statements = db.prepare<[], string>(STATEMENTS).pluck().all();
  if (JSON.stringify(statements) === JSON.stringify(soundStatements())) return;
  throw new SiltError(
    "corrupt",
    `Cannot open log "${db.name}": its tables are damaged; restore it from a backup`,
  );
}
