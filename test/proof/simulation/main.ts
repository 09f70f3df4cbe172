/**
 * `npm run simulate -- --seed N [--trace] | --seeds A..B | --minutes M`: schedules of the real protocol
 * over simulated stores, from their seeds. A failing one is told, made smaller and told again. Exit code 1
 * when anything was broken.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type Cuts, shrink, simulate } from "@silt/testkit";
import { formatRun, formatSchedule, formatShrunk } from "./format-run.ts";
import type { BatchReport } from "./run-batch.ts";
import { runSeeds } from "./run-seeds.ts";
import { createSqliteEngine } from "./sqlite-engine.ts";

const USAGE = `npm run simulate -- --seed N [--trace] [--sqlite]
npm run simulate -- --seeds A..B | --minutes M [--from A] [--workers N] [--json]
  --without a,b,…     leave out roles, actors or kinds of fault
  --cuts JSON         leave out what shrinking found
  --sqlite-every N    seeds that N divides run on real SQLite (500; 0 = none)
  --failures N        stop after so many (1)
  --no-shrink
`;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    minutes: { type: "string" },
    from: { type: "string", default: "1" },
    workers: { type: "string", default: String(availableParallelism()) },
    without: { type: "string" },
    cuts: { type: "string" },
    failures: { type: "string", default: "1" },
    "sqlite-every": { type: "string", default: "500" },
    sqlite: { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
    shrink: { type: "boolean", default: true },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const PROGRESS_MS = 10_000;
const FIRST_LINES = 200;
const LAST_LINES = 60;

/** A schedule that does not come to an end says the same again and again. */
function shorten(trace: readonly string[]): readonly string[] {
  if (trace.length <= FIRST_LINES + LAST_LINES) return trace;
  const left = trace.length - FIRST_LINES - LAST_LINES;
  return [...trace.slice(0, FIRST_LINES), `… ${left} lines`, ...trace.slice(-LAST_LINES)];
}

function readCuts(): Cuts | undefined {
  const cuts = values.cuts === undefined ? undefined : (JSON.parse(values.cuts) as Cuts);
  if (values.without === undefined) return cuts;
  return { ...cuts, without: [...(cuts?.without ?? []), ...values.without.split(",")] };
}

async function explain(seed: number, cuts: Cuts | undefined, sqlite: boolean): Promise<void> {
  if (!values.shrink) return;
  await using engine = sqlite ? createSqliteEngine() : undefined;
  const shrunk = await shrink(seed, cuts, { engine });
  if (shrunk === undefined) return;
  const trace = shorten(shrunk.result.trace);
  process.stdout.write(formatShrunk({ ...shrunk, result: { ...shrunk.result, trace } }));
}

async function runOne(seed: number): Promise<void> {
  const cuts = readCuts();
  await using engine = values.sqlite ? createSqliteEngine() : undefined;
  const result = await simulate(seed, { cuts, engine, trace: values.trace });
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : formatSchedule(result));
  if (result.violation === undefined) return;
  process.exitCode = 1;
  if (!values.json && values.cuts === undefined) await explain(seed, cuts, values.sqlite);
}

async function runMany(): Promise<void> {
  const [from, to] = (values.seeds ?? values.from).split("..").map(Number);
  const cuts = readCuts();
  let toldMs = performance.now();
  const onProgress = ({ schedules, failures }: BatchReport) => {
    if (performance.now() - toldMs < PROGRESS_MS) return;
    toldMs = performance.now();
    process.stderr.write(`${schedules} schedules, ${failures.length} violations\n`);
  };
  const report = await runSeeds({
    from: from ?? 1,
    to,
    minutes: values.minutes === undefined ? undefined : Number(values.minutes),
    workers: Number(values.workers),
    sqliteEvery: Number(values["sqlite-every"]),
    failuresMax: Number(values.failures),
    cuts,
    onProgress,
  });
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : formatRun(report));
  const [failure] = report.failures;
  if (failure === undefined) return;
  process.exitCode = 1;
  if (!values.json) await explain(failure.seed, cuts, failure.sqlite);
}

if (values.seed !== undefined) await runOne(Number(values.seed));
else if (values.seeds !== undefined || values.minutes !== undefined) await runMany();
else {
  process.stdout.write(USAGE);
  process.exitCode = values.help ? 0 : 2;
}
