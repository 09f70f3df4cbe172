/**
 * `npm run fuzz -- [--seed N] [--cases N] [--minutes M] [--case K]`: hostile input by seeded cases. A
 * failure prints its number; `--seed N --case K` runs it alone.
 */
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runFuzz } from "./run-fuzz.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    cases: { type: "string" },
    minutes: { type: "string" },
    case: { type: "string" },
  },
});
const numberOf = (name: "seed" | "cases" | "minutes" | "case", otherwise: number): number => {
  const value = Number(values[name] ?? otherwise);
  if (value >= 0) return value;
  process.stderr.write(`Cannot fuzz: --${name} is "${values[name]}", expected a number\n`);
  process.exit(2);
};
const seed = numberOf("seed", 1);
const one = values.case === undefined ? undefined : numberOf("case", 0);
const minutes = numberOf("minutes", Number.POSITIVE_INFINITY);
const unbounded = values.minutes !== undefined ? Number.MAX_SAFE_INTEGER : 10_000;
const progressFile = join(tmpdir(), `silt-fuzz-${process.pid}`);
process.stdout.write(`seed ${seed}; should this process die, its case is in ${progressFile}\n`);

const start = performance.now();
const report = await runFuzz({
  seed,
  first: one ?? 0,
  cases: one === undefined ? numberOf("cases", unbounded) : 1,
  msMax: minutes * 60_000,
  progressFile,
  onFailure: ({ case: number, target, message }) =>
    process.stdout.write(`FAILED --seed ${seed} --case ${number} (${target})\n  ${message}\n`),
});
rmSync(progressFile);
for (const [target, endings] of Object.entries(report.endings)) {
  const told = Object.entries(endings).map(([ended, count]) => `${ended} ${count}`);
  process.stdout.write(`${target.padEnd(16)} ${told.join(", ")}\n`);
}
const seconds = Math.round((performance.now() - start) / 1_000);
const peak = Math.round(report.peakBytes / 1024 / 1024);
process.stdout.write(
  `${report.cases} cases, ${report.failures.length} failed, ${seconds} s, peak memory ${peak} MiB\n`,
);
process.exitCode = report.failures.length === 0 ? 0 : 1;
