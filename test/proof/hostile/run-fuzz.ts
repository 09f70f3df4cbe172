/** Seeded cases, each replayed by its number alone, and what must hold after them. */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { createSeededRandom, type SeededRandom } from "@silt/testkit";
import { type FuzzArena, type FuzzTarget, insist, openFuzzArena } from "./fuzz-arena.ts";
import { fuzzManifest, fuzzSqlite, fuzzTar } from "./fuzz-bundle.ts";
import { fuzzDocument } from "./fuzz-documents.ts";
import { fuzzInspect, fuzzJournal, fuzzPicture, fuzzSegment } from "./fuzz-files.ts";
import {
  fuzzDocumentFilter,
  fuzzFilter,
  fuzzLines,
  fuzzRecord,
  fuzzSidecar,
} from "./fuzz-records.ts";
import { contentsOf } from "./hostile-world.ts";

/** How often each is chosen: the slow ones, and those that were never wrong, less. */
const TARGETS: readonly (readonly [name: string, weight: number, target: FuzzTarget])[] = [
  ["tar", 15, fuzzTar],
  ["sqlite", 20, fuzzSqlite],
  ["manifest", 8, fuzzManifest],
  ["document", 20, fuzzDocument],
  ["record", 20, fuzzRecord],
  ["lines", 4, fuzzLines],
  ["filter", 20, fuzzFilter],
  ["document filter", 4, fuzzDocumentFilter],
  ["sidecar", 6, fuzzSidecar],
  ["segment", 12, fuzzSegment],
  ["picture", 6, fuzzPicture],
  ["inspect", 4, fuzzInspect],
  ["journal", 2, fuzzJournal],
];
const WEIGHT = TARGETS.reduce((sum, [, weight]) => sum + weight, 0);
const CASE_SECONDS_MAX = 20;
const MIXER = 0x9e3779b1;

export interface FuzzFailure {
  readonly case: number;
  readonly target: string;
  readonly message: string;
}

export interface FuzzReport {
  readonly cases: number;
  /** How the cases of each target ended. */
  readonly endings: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly failures: readonly FuzzFailure[];
  readonly peakBytes: number;
}

export interface FuzzOptions {
  readonly seed: number;
  readonly first: number;
  readonly cases: number;
  /** Ends before a case that would begin after so many milliseconds. */
  readonly msMax?: number;
  /** Holds the number of the case in hand, should the process die of it. */
  readonly progressFile?: string;
  readonly onFailure?: (failure: FuzzFailure) => void;
}

const FAILURES_MAX = 20;

/** Runs cases `first` to `first + cases - 1` of a seed in one store. */
export async function runFuzz(options: FuzzOptions): Promise<FuzzReport> {
  await using arena = await openFuzzArena();
  const before = { outside: arena.world.outside(), notes: await contentsOf(arena.world.store) };
  const endings: Record<string, Record<string, number>> = {};
  const failures: FuzzFailure[] = [];
  const start = performance.now();
  const progress =
    options.progressFile === undefined ? undefined : openSync(options.progressFile, "w");
  let cases = 0;
  for (; cases < options.cases && failures.length < FAILURES_MAX; cases++) {
    if (performance.now() - start > (options.msMax ?? Number.POSITIVE_INFINITY)) break;
    const number = options.first + cases;
    if (progress !== undefined) writeSync(progress, `${number}\n`, 0);
    const { target, ended, failure } = await runCase(arena, options.seed, number, before.outside);
    const tally = endings[target] ?? {};
    endings[target] = tally;
    tally[ended] = (tally[ended] ?? 0) + 1;
    if (failure === undefined) continue;
    failures.push({ case: number, target, message: failure });
    options.onFailure?.({ case: number, target, message: failure });
  }
  if (progress !== undefined) closeSync(progress);
  await checkStore(arena, before.notes);
  return { cases, endings, failures, peakBytes: peakBytes() };
}

async function runCase(arena: FuzzArena, seed: number, number: number, outside: string) {
  const random = createSeededRandom(Math.imul(seed, MIXER) + number);
  const [target, , run] = pickTarget(random);
  const start = performance.now();
  try {
    const ended = await run(random, arena);
    const seconds = (performance.now() - start) / 1_000;
    insist(seconds < CASE_SECONDS_MAX, `it took ${seconds.toFixed(1)} s`);
    insist(arena.world.outside() === outside, "something outside of the store changed");
    return { target, ended, failure: undefined };
  } catch (error) {
    const { name, message, stack } = error as Error;
    return {
      target,
      ended: "FAILED",
      failure: `${name}: ${message}\n${stack ?? ""}`.slice(0, 2_000),
    };
  }
}

function pickTarget(random: SeededRandom): (typeof TARGETS)[number] {
  let left = random.int(WEIGHT);
  for (const entry of TARGETS) {
    left -= entry[1];
    if (left < 0) return entry;
  }
  throw new Error("the weights do not add up");
}

/** Whatever came: the records that were there are there, and a deep verification finds nothing. */
async function checkStore({ world }: FuzzArena, notes: string): Promise<void> {
  await world.store.compact();
  insist((await contentsOf(world.store)) === notes, "records that were there before have changed");
  const { ok, problems } = await world.store.verify({ deep: true });
  insist(ok, `verify found ${JSON.stringify(problems).slice(0, 1_000)}`);
}

/** The most memory that this process ever had. */
export function peakBytes(): number {
  const [, kib = "0"] = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return Number(kib) * 1_024;
}
