/** What the benchmarks share: the machine, seeded vectors, a store in a temporary folder, and output. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { createSeededRandom } from "@silt/testkit";
import Database from "better-sqlite3";

export const DIMENSION = 384;

/** Machine and versions, to stand beside every committed figure. */
export function describeMachine(): Readonly<Record<string, string>> {
  const db = new Database(":memory:");
  const sqlite = db.prepare("SELECT sqlite_version()").pluck().get() as string;
  db.close();
  return {
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? "unknown"}`,
    memory: `${Math.round(totalmem() / 1024 ** 3)} GiB`,
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.version,
    sqlite,
    date: new Date().toISOString().slice(0, 10),
  };
}

export interface BenchRecord {
  readonly id: string;
  readonly embedding: Float32Array;
  readonly document: string;
  readonly metadata: { readonly group: number };
}

/** A record whose vector depends on its id and `salt` alone. */
export function recordOf(number: number, salt: number, dimension = DIMENSION): BenchRecord {
  const random = createSeededRandom(number * 31 + salt);
  return {
    id: `record-${String(number).padStart(8, "0")}`,
    embedding: Float32Array.from({ length: dimension }, () => random.fraction() - 0.5),
    document: `record ${number} of a benchmark, salt ${salt}`,
    metadata: { group: number % 97 },
  };
}

export function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "silt-bench-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** The largest resident size that this process ever had, in MB. */
export function peakMemoryMb(): number {
  const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return Math.round(Number(peak) / 1024);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] as number;
}

export const round = (value: number, digits = 2) => Number(value.toFixed(digits));

export async function timed<T>(work: () => Promise<T> | T): Promise<readonly [T, number]> {
  const start = performance.now();
  const result = await work();
  return [result, performance.now() - start];
}

/** A table for people, then one JSON document with the machine. */
export function report(bench: string, rows: readonly object[], facts: object = {}): void {
  console.table(rows);
  console.log(JSON.stringify({ bench, ...facts, results: rows, machine: describeMachine() }));
}
