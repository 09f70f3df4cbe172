/**
 * A second opinion on a file: `node:sqlite` is another build of SQLite than better-sqlite3. Both read
 * every table, side by side, so that memory holds one row of each.
 */
import { pathToFileURL } from "node:url";
import { type Logger, reasonOf, SiltError } from "@silt/core";
import Database from "better-sqlite3";
import { environmentError } from "./file-hash.ts";
import { ROW_COLUMNS } from "./schema.ts";
import { isEnvironment, logged } from "./sqlite-file.ts";

type SecondSqlite = typeof import("node:sqlite");

/** Each table in an order that both builds must agree on. */
const QUERIES: readonly (readonly [what: string, sql: string])[] = [
  ["schema", "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid"],
  ["meta", "SELECT key, value FROM meta ORDER BY key"],
  ["rows", `SELECT row, ${ROW_COLUMNS} FROM rows ORDER BY row`],
  ["replaced", "SELECT parent, sequence FROM replaced ORDER BY parent"],
];

/** Opened as what never changes: no locks, so that one closing cannot drop the other's. */
const immutable = (path: string): string => `${pathToFileURL(path).href}?immutable=1`;

/**
 * SQLite's result codes for what the machine does: PERM, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT,
 * IOERR, FULL, CANTOPEN.
 */
const MACHINE_CODES: ReadonlySet<number> = new Set([3, 5, 6, 7, 8, 9, 10, 13, 14]);

/** True when a failure of either build is the machine's; extended codes carry the code in their last byte. */
function isMachine(error: unknown): boolean {
  const { errcode } = error as { errcode?: unknown };
  return isEnvironment(error) || (typeof errcode === "number" && MACHINE_CODES.has(errcode & 0xff));
}

async function loadSecondSqlite(): Promise<SecondSqlite> {
  try {
    return await import("node:sqlite");
  } catch (cause) {
    throw new SiltError(
      "invalid",
      `Cannot look deep: Node ${process.version} has no node:sqlite; use Node 24, or verify without "--deep"`,
      { cause },
    );
  }
}

/**
 * What a second build of SQLite finds wrong with a closed file, or reads differently; undefined when
 * both agree on every value of every row. Throws `unavailable` for failures of the machine.
 */
export async function secondOpinion(path: string, logger: Logger): Promise<string | undefined> {
  const { DatabaseSync } = await loadSecondSqlite();
  const first = new Database(path, { readonly: true, fileMustExist: true });
  try {
    const second = new DatabaseSync(immutable(path), { readOnly: true });
    try {
      return logged(logger, "second opinion", path, () => compare(first, second));
    } finally {
      second.close();
    }
  } catch (error) {
    if (isMachine(error)) throw environmentError("read", path, error);
    return `the second build of SQLite cannot read it: ${reasonOf(error)}`;
  } finally {
    first.close();
  }
}

function compare(
  first: Database.Database,
  second: InstanceType<SecondSqlite["DatabaseSync"]>,
): string | undefined {
  const [verdict] = second.prepare("PRAGMA integrity_check(1)").all();
  const said = String(verdict?.integrity_check);
  if (said !== "ok") return `the second build of SQLite says: ${said}`;
  for (const [what, sql] of QUERIES) {
    const theirs = second.prepare(sql);
    theirs.setReadBigInts(true);
    theirs.setReturnArrays(true);
    const differs = firstDifference(
      first.prepare(sql).raw().safeIntegers().iterate() as IterableIterator<unknown[]>,
      theirs.iterate() as unknown as IterableIterator<unknown[]>,
    );
    if (differs !== undefined) {
      return `two builds of SQLite read the ${what} differently, first at number ${differs}`;
    }
  }
  return undefined;
}

/** Number, from 1, of the first row in which two readings differ; undefined when they are the same. */
export function firstDifference(
  ours: IterableIterator<readonly unknown[]>,
  theirs: IterableIterator<readonly unknown[]>,
): number | undefined {
  for (let number = 1; ; number++) {
    const [a, b] = [ours.next(), theirs.next()];
    if (a.done && b.done) return undefined;
    if (a.done || b.done || !sameRow(a.value, b.value)) {
      // better-sqlite3 keeps a database busy until its iterator is closed.
      ours.return?.();
      theirs.return?.();
      return number;
    }
  }
}

function sameRow(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((value, index) => sameValue(value, b[index]));
}

function sameValue(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return Object.is(a, b);
}
