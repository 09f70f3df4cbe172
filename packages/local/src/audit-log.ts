/** The whole log against its own digests: the part of a verification that only its adapter can do. */
import {
  addLanes,
  type Lanes,
  type LogDamage,
  lanesOf,
  lanesToHex,
  reasonOf,
  ZERO_LANES,
} from "@silt/core";
import type Database from "better-sqlite3";
import {
  columnsOf,
  DIGESTED_TABLES,
  type DigestedTable,
  isSoundRow,
  rowDigest,
  SUMS_TABLE,
} from "./row-digests.ts";

/** More of the same would not help anyone. */
const LISTED_MAX = 100;

/**
 * What in an open log is not what was written, at one moment. Blocks this thread for some microseconds a
 * row; memory is bounded.
 */
export function auditLog(db: Database.Database): readonly LogDamage[] {
  const damages = [...auditStructure(db)];
  for (const table of [...DIGESTED_TABLES, SUMS_TABLE]) {
    try {
      damages.push(...auditTable(db, table));
    } catch (error) {
      damages.push({ what: `rows of ${table.name}`, reason: reasonOf(error) });
    }
  }
  return damages;
}

function auditStructure(db: Database.Database): readonly LogDamage[] {
  const what = "structure of log.sqlite";
  try {
    const said = db.pragma(`integrity_check(${LISTED_MAX})`) as { integrity_check: string }[];
    const lines = said.map((row) => row.integrity_check);
    return lines.length === 1 && lines[0] === "ok" ? [] : [{ what, reason: lines.join("; ") }];
  } catch (error) {
    return [{ what, reason: reasonOf(error) }];
  }
}

function auditTable(db: Database.Database, table: DigestedTable): readonly LogDamage[] {
  const damages: LogDamage[] = [];
  const columns = columnsOf(table);
  const select = db.prepare(`SELECT digest, ${columns.join(", ")} FROM main.${table.name}`);
  let rows = 0;
  let sum: Lanes = ZERO_LANES;
  for (const [digest, ...values] of select.raw().safeIntegers().iterate() as Iterable<unknown[]>) {
    rows += 1;
    sum = addLanes(sum, lanesOf(rowDigest(table.name, values)));
    if (isSoundRow(table.name, digest, values)) continue;
    if (damages.length >= LISTED_MAX) break;
    const reason = "Its content does not match the digest that it was written with";
    damages.push({ ...nameOf(table, values), reason });
  }
  // A damaged row explains the sum.
  if (table !== SUMS_TABLE && damages.length === 0) damages.push(...compare(db, table, rows, sum));
  return damages;
}

/** Rows that are gone, back or doubled are sound each by itself. */
function compare(
  db: Database.Database,
  { name }: DigestedTable,
  rows: number,
  sum: Lanes,
): readonly LogDamage[] {
  const told = db
    .prepare<[string], { rows: number; sum: string }>(
      "SELECT rows, sum FROM sums WHERE log_table = ?",
    )
    .get(name);
  if (told?.rows === rows && told.sum === lanesToHex(sum)) return [];
  const reason =
    told?.rows === rows
      ? "Its rows are not those that were written last"
      : `It has ${rows} rows, ${told?.rows ?? "nobody knows how many"} were written`;
  return [{ what: `rows of ${name}`, reason }];
}

type Name = Pick<LogDamage, "what">;

function nameOf({ name, key }: DigestedTable, values: readonly unknown[]): Name {
  const [first, second, third] = values.map(String) as [string, string, string];
  if (key[0] !== "partition") {
    const what =
      name === "guards"
        ? `guard of ${second}`
        : name === "meta"
          ? `meta ${first}`
          : `sums of ${first}`;
    return { what };
  }
  const row: Readonly<Record<string, string>> = {
    heads: "HEAD",
    runs: `run ${second}`,
    run_ids: `run id ${second}`,
    versions: `version ${second}-${third}`,
    applied: "APPLIED",
    leases: "lease",
  };
  return { what: `${row[name]} of ${first}` };
}
