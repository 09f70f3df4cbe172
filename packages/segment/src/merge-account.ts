/** The books of a merge (I3): what it consumes, creates and supersedes, summed by SQL. */
import { addLanes, type Lanes, type MergeAccount, type Tally } from "@silt/core";
import { sumLanesSql } from "./schema.ts";
import type { SqliteDatabase } from "./sqlite-file.ts";

function addTally(a: Tally, b: Tally): Tally {
  return { rows: a.rows + b.rows, t: addLanes(a.t, b.t) };
}

export function consume(account: MergeAccount, tally: Tally): MergeAccount {
  return { ...account, consumed: addTally(account.consumed, tally) };
}

export function create(account: MergeAccount, tally: Tally): MergeAccount {
  return { ...account, created: addTally(account.created, tally) };
}

export type SumRow = [
  rows: number,
  t0: number,
  t1: number,
  t2: number,
  t3: number,
  ...rest: number[],
];

/** Rows and Σt of a selection, with the puts and Σv among them. */
export function sumSelection(
  db: SqliteDatabase,
  alias: string,
  from: string,
  ...values: unknown[]
) {
  const sql =
    `SELECT COUNT(*), ${sumLanesSql(alias, "ta", "tb")}, ` +
    `COUNT(${alias}.va), ${sumLanesSql(alias, "va", "vb")} FROM ${from}`;
  const sums = db.prepare(sql).raw().get(values) as SumRow;
  return {
    tally: { rows: sums[0], t: sums.slice(1, 5) as unknown as Lanes },
    puts: sums[5] as number,
    v: sums.slice(6, 10) as unknown as Lanes,
  };
}

/** Books a selection of rows as consumed, its vectors as superseded. */
export function supersede(
  db: SqliteDatabase,
  account: MergeAccount,
  alias: string,
  from: string,
  ...values: unknown[]
): MergeAccount {
  const sums = sumSelection(db, alias, from, ...values);
  return {
    ...consume(account, sums.tally),
    superseded: addLanes(account.superseded, sums.v),
    supersededRows: account.supersededRows + sums.puts,
  };
}
