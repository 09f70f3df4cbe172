/** Schedules over several processes: batches of seeds are handed out in order until enough are done. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { Cuts } from "@silt/testkit";
import { addReports, type Batch, type BatchReport, NO_SCHEDULES } from "./run-batch.ts";

export interface RunOptions {
  readonly from: number;
  /** The last seed; none = until the time is over. */
  readonly to?: number | undefined;
  readonly minutes?: number | undefined;
  readonly workers: number;
  readonly sqliteEvery: number;
  readonly cuts?: Cuts | undefined;
  /** Stop handing out batches after so many failures. */
  readonly failuresMax: number;
  readonly onProgress?: (report: BatchReport) => void;
}

export interface RunReport extends BatchReport {
  readonly from: number;
  readonly to: number;
  readonly workers: number;
  readonly seconds: number;
  readonly perSecond: number;
}

const BATCH_SEEDS = 50;
const PROCESS = join(import.meta.dirname, "batch-process.ts");

/** Runs all seeds of a range, or as many as fit into the time. */
export async function runSeeds(options: RunOptions): Promise<RunReport> {
  const { from, workers, sqliteEvery, cuts, failuresMax, onProgress } = options;
  const startedMs = performance.now();
  const last = options.to ?? Number.MAX_SAFE_INTEGER;
  const untilMs = startedMs + (options.minutes ?? Number.POSITIVE_INFINITY) * 60_000;
  let next = from;
  let total = NO_SCHEDULES;
  const take = (): Batch | undefined => {
    const over = total.failures.length >= failuresMax || performance.now() >= untilMs;
    if (next > last || over) return undefined;
    const batch = { from: next, to: Math.min(last, next + BATCH_SEEDS - 1), sqliteEvery };
    next = batch.to + 1;
    return cuts === undefined ? batch : { ...batch, cuts };
  };
  const work = async () => {
    const child = fork(PROCESS, { serialization: "advanced" });
    try {
      for (let batch = take(); batch !== undefined; batch = take()) {
        const report = await runIn(child, batch);
        total = addReports(total, report);
        onProgress?.(total);
      }
    } finally {
      child.disconnect();
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  const seconds = (performance.now() - startedMs) / 1000;
  return { ...total, from, to: next - 1, workers, seconds, perSecond: total.schedules / seconds };
}

function runIn(child: ChildProcess, batch: Batch): Promise<BatchReport> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null) =>
      reject(new Error(`Cannot go on with seeds ${batch.from} to ${batch.to}: exit ${code}`));
    child.once("exit", died);
    child.once("message", (answer: { report?: BatchReport; failed?: string }) => {
      child.off("exit", died);
      if (answer.report === undefined) reject(new Error(answer.failed));
      else resolve(answer.report);
    });
    child.send(batch);
  });
}
