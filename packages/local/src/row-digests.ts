/**
 * Every row of the log under a digest, and every table under the sum of its digests: a flipped bit, a row
 * that is gone, came back or is there twice is found, and a damaged row is refused wherever it is used.
 * Triggers keep the books, so that no statement can forget them; they need the functions of
 * {@link prepareDigests}, so that no other program changes a log by accident.
 */
import { createHash } from "node:crypto";
import {
  addLanes,
  DIGEST_BYTES,
  type Lanes,
  lanesFromHex,
  lanesOf,
  lanesToHex,
  SiltError,
  ZERO_LANES,
} from "@silt/core";
import type Database from "better-sqlite3";

export interface DigestedTable {
  readonly name: string;
  readonly key: readonly string[];
  readonly values: readonly string[];
}

/** All tables but `hints`, which carry nothing, may be lost, and must never keep a sweep from its work. */
export const DIGESTED_TABLES: readonly DigestedTable[] = [
  { name: "meta", key: ["key"], values: ["value"] },
  {
    name: "heads",
    key: ["partition"],
    values: ["sequence", "runs_hash", "floor", "excluding", "exclude_rev"],
  },
  { name: "runs", key: ["partition", "sequence"], values: ["run_id", "run"] },
  { name: "run_ids", key: ["partition", "run_id"], values: ["sequence"] },
  { name: "versions", key: ["partition", "version", "commit_id"], values: ["item"] },
  { name: "applied", key: ["partition"], values: ["version", "applied_through"] },
  { name: "guards", key: ["family", "uri"], values: ["rev", "guard"] },
  { name: "leases", key: ["partition"], values: ["epoch", "holder", "ttl_ms", "expires_at_ms"] },
];

/** Rows and digests of each table, under a digest of their own. */
export const SUMS_TABLE: DigestedTable = {
  name: "sums",
  key: ["log_table"],
  values: ["rows", "sum"],
};

export const columnsOf = ({ key, values }: DigestedTable): readonly string[] => [...key, ...values];

/** Tables and triggers that keep the digests; each table has a column `digest`, which is filled here. */
export function digestStatements(): string {
  const sums =
    "CREATE TABLE sums (log_table TEXT PRIMARY KEY, rows INTEGER NOT NULL, sum TEXT NOT NULL, digest BLOB) WITHOUT ROWID;";
  return [
    sums,
    trigger(SUMS_TABLE, "INSERT", [sealRow(SUMS_TABLE)]),
    trigger(SUMS_TABLE, "UPDATE", [checkOld(SUMS_TABLE), sealRow(SUMS_TABLE)]),
    ...DIGESTED_TABLES.flatMap((table) => [
      trigger(table, "INSERT", [sealRow(table), addToSums(table, 1, "NULL", newDigest(table))]),
      trigger(table, "UPDATE", [
        checkOld(table),
        sealRow(table),
        addToSums(table, 0, "OLD.digest", newDigest(table)),
      ]),
      trigger(table, "DELETE", [checkOld(table), addToSums(table, -1, "OLD.digest", "NULL")]),
    ]),
  ].join("\n");
}

const of = (row: string, table: DigestedTable): string =>
  columnsOf(table)
    .map((column) => `${row}.${column}`)
    .join(", ");

const newDigest = (table: DigestedTable): string =>
  `silt_digest('${table.name}', ${of("NEW", table)})`;

/** A damaged row must not get a new, right digest by the next update. */
const checkOld = (table: DigestedTable): string =>
  `SELECT silt_sound('${table.name}', OLD.digest, ${of("OLD", table)});`;

function sealRow(table: DigestedTable): string {
  const same = table.key.map((column) => `${column} = NEW.${column}`).join(" AND ");
  return `UPDATE ${table.name} SET digest = ${newDigest(table)} WHERE ${same};`;
}

const addToSums = ({ name }: DigestedTable, rows: number, without: string, plus: string): string =>
  `UPDATE sums SET rows = rows + ${rows}, sum = silt_sum(sum, ${without}, ${plus}) WHERE log_table = '${name}';`;

function trigger(
  table: DigestedTable,
  event: "INSERT" | "UPDATE" | "DELETE",
  steps: readonly string[],
): string {
  // Not of `digest`: the trigger sets it itself.
  const what = event === "UPDATE" ? `UPDATE OF ${columnsOf(table).join(", ")}` : event;
  const name = `${table.name}_${event.toLowerCase()}`;
  return `CREATE TRIGGER ${name} AFTER ${what} ON ${table.name} BEGIN ${steps.join(" ")} END;`;
}

/** The empty sums of a new log. */
export function insertSums(db: Database.Database): void {
  const insert = db.prepare("INSERT INTO sums (log_table, rows, sum) VALUES (?, 0, ?)");
  for (const { name } of DIGESTED_TABLES) insert.run(name, lanesToHex(ZERO_LANES));
}

/** Gives a connection the functions that the triggers call. */
export function prepareDigests(db: Database.Database): void {
  const options = { varargs: true, deterministic: true, safeIntegers: true } as const;
  db.function("silt_digest", options, (table, ...values) => rowDigest(String(table), values));
  db.function("silt_sound", options, (table, digest, ...values) =>
    checkRow(String(table), digest, values),
  );
  db.function("silt_sum", options, (sum, without, plus) =>
    lanesToHex(addLanes(subtractLanes(lanesFromHex(String(sum)), lanes(without)), lanes(plus))),
  );
}

/** For each table a view `sound_<table>` that throws `corrupt` where a row is not what was written. */
export function createSoundViews(db: Database.Database): void {
  for (const table of DIGESTED_TABLES) {
    const { name } = table;
    const columns = columnsOf(table).join(", ");
    db.exec(
      `CREATE TEMP VIEW sound_${name} AS SELECT ${columns} FROM main.${name} WHERE silt_sound('${name}', digest, ${columns})`,
    );
  }
}

const lanes = (digest: unknown): Lanes =>
  digest instanceof Uint8Array && digest.byteLength === DIGEST_BYTES ? lanesOf(digest) : ZERO_LANES;

const subtractLanes = (a: Lanes, b: Lanes): Lanes => [
  (a[0] - b[0]) >>> 0,
  (a[1] - b[1]) >>> 0,
  (a[2] - b[2]) >>> 0,
  (a[3] - b[3]) >>> 0,
];

/** Of the table's name and the row's values in the order of its columns, each with its type and length. */
export function rowDigest(table: string, values: readonly unknown[]): Buffer {
  const hash = createHash("sha256").update(table);
  for (const value of values) {
    const bytes =
      value instanceof Uint8Array ? value : Buffer.from(value === null ? "" : String(value));
    const type = value === null ? "null" : value instanceof Uint8Array ? "blob" : typeof value;
    hash.update(` ${type} ${bytes.byteLength} `).update(bytes);
  }
  return hash.digest().subarray(0, DIGEST_BYTES);
}

/** True when a row, with the digest that stands in it, is what was written. */
export function isSoundRow(table: string, digest: unknown, values: readonly unknown[]): boolean {
  return digest instanceof Uint8Array && rowDigest(table, values).equals(digest);
}

function checkRow(table: string, digest: unknown, values: readonly unknown[]): 1 {
  if (isSoundRow(table, digest, values)) return 1;
  const row = `${table} ${values.slice(0, 2).map(String).join(" ")}`.slice(0, 200);
  throw new SiltError(
    "corrupt",
    `Cannot use the log's row "${row}": its content does not match its digest; run "silt verify" and restore the log from a backup`,
  );
}
