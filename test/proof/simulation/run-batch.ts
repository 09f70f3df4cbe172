/** Many schedules in one process, summed up. */
import { addTotals, type Cuts, simulate, type Totals } from "@silt/testkit";
import { createSqliteEngine } from "./sqlite-engine.ts";

export interface Batch {
  readonly from: number;
  readonly to: number;
  /** Seeds that it divides run on real SQLite; 0 = none. */
  readonly sqliteEvery: number;
  readonly cuts?: Cuts;
}

export interface Failure {
  readonly seed: number;
  readonly message: string;
  readonly sqlite: boolean;
}

export interface BatchReport {
  readonly schedules: number;
  readonly steps: number;
  readonly virtualMs: number;
  readonly sqliteSeeds: number;
  /** Of the shortest schedule. */
  readonly stepsMin: number;
  readonly flipsMin: number;
  readonly failures: readonly Failure[];
  readonly totals: Totals;
}

export const NO_SCHEDULES: BatchReport = {
  schedules: 0,
  steps: 0,
  virtualMs: 0,
  sqliteSeeds: 0,
  stepsMin: Number.POSITIVE_INFINITY,
  flipsMin: Number.POSITIVE_INFINITY,
  failures: [],
  totals: {},
};

export function addReports(a: BatchReport, b: BatchReport): BatchReport {
  return {
    schedules: a.schedules + b.schedules,
    steps: a.steps + b.steps,
    virtualMs: a.virtualMs + b.virtualMs,
    sqliteSeeds: a.sqliteSeeds + b.sqliteSeeds,
    stepsMin: Math.min(a.stepsMin, b.stepsMin),
    flipsMin: Math.min(a.flipsMin, b.flipsMin),
    failures: [...a.failures, ...b.failures],
    totals: addTotals({ ...a.totals }, b.totals),
  };
}

const isSqlite = (seed: number, every: number) => every > 0 && seed % every === 0;

/** Runs the seeds of a batch, one after the other. */
export async function runBatch({ from, to, sqliteEvery, cuts }: Batch): Promise<BatchReport> {
  let report = NO_SCHEDULES;
  for (let seed = from; seed <= to; seed++) {
    report = addReports(report, await runSeed(seed, isSqlite(seed, sqliteEvery), cuts));
  }
  return report;
}

async function runSeed(seed: number, sqlite: boolean, cuts?: Cuts): Promise<BatchReport> {
  await using engine = sqlite ? createSqliteEngine() : undefined;
  const { violation, steps, virtualMs, totals } = await simulate(seed, { engine, cuts });
  const failed = violation !== undefined;
  return {
    schedules: 1,
    steps,
    virtualMs,
    sqliteSeeds: sqlite ? 1 : 0,
    stepsMin: failed ? Number.POSITIVE_INFINITY : steps,
    flipsMin: failed ? Number.POSITIVE_INFINITY : (totals.flips ?? 0),
    failures: failed ? [{ seed, message: violation.message, sqlite }] : [],
    totals,
  };
}
