/**
 * Makes a failing schedule smaller: fewer kinds of fault, fewer actors, fewer operations, fewer single
 * faults, and less interleaving, as long as the same breaks. What is left is the story.
 */
import { ROLES } from "./actor.ts";
import { CALL_FAULTS, HINT_FAULTS, WEATHER_FAULTS } from "./faults.ts";
import type { Cuts } from "./schedule-plan.ts";
import { type SimulateOptions, type SimulationResult, simulate } from "./simulate.ts";

export interface Shrunk {
  readonly cuts: Cuts;
  /** Of the smallest schedule, with its trace. */
  readonly result: SimulationResult;
  /** Schedules that were run to find it. */
  readonly tried: number;
}

export interface ShrinkOptions {
  readonly engine?: SimulateOptions["engine"];
  /** Schedules to try at most. */
  readonly triesMax?: number;
}

const TRIES_MAX = 1_500;
const OPERATIONS_MAX = 6;
const KIND_CHARS = 80;

/** Shrinks a failing schedule; undefined when it does not fail. */
export async function shrink(
  seed: number,
  first: Cuts = {},
  options: ShrinkOptions = {},
): Promise<Shrunk | undefined> {
  const { engine, triesMax = TRIES_MAX } = options;
  let tried = 0;
  const run = (cuts: Cuts) => {
    tried += 1;
    return simulate(seed, { cuts, engine });
  };
  const begun = await run(first);
  const broken = kindOf(begun);
  if (broken === undefined) return undefined;
  let cuts = first;
  let best = begun;
  /** Keeps what still breaks the same. */
  const attempt = async (smaller: Cuts): Promise<boolean> => {
    if (tried >= triesMax) return false;
    const result = await run(smaller);
    if (kindOf(result) !== broken) return false;
    cuts = smaller;
    best = result;
    return true;
  };

  for (const name of partsOf(best)) {
    await attempt({ ...cuts, without: [...(cuts.without ?? []), name] });
  }
  for (let operationsMax = 1; operationsMax <= OPERATIONS_MAX; operationsMax++) {
    if (await attempt({ ...cuts, operationsMax })) break;
  }
  await without(range(1, best.faults), (faults) =>
    attempt({ ...cuts, faults: [...new Set([...(cuts.faults ?? []), ...faults])] }),
  );
  let stay: readonly number[] = [];
  await without(range(0, best.steps), async (steps) => {
    const more = [...stay, ...steps];
    const done = await attempt({ ...cuts, stay: rangesOf(more) });
    if (done) stay = more;
    return done;
  });
  const result = await simulate(seed, { cuts, engine, trace: true });
  return { cuts, result, tried };
}

/** What is broken, without the names and numbers of this schedule. */
function kindOf({ violation }: SimulationResult): string | undefined {
  return violation?.message.replaceAll(/[0-9a-f-]{8,}|\d+/g, "#").slice(0, KIND_CHARS);
}

/** What could be left out as a whole. */
function partsOf({ plan }: SimulationResult): readonly string[] {
  const names = plan.actors.map(({ name }) => name);
  const parts = [
    ...CALL_FAULTS,
    ...WEATHER_FAULTS,
    ...HINT_FAULTS,
    ...ROLES,
    ...names.toReversed(),
  ];
  // Without any compactor nothing settles, whatever else was broken.
  return parts.filter((part) => part !== "compactor" && part !== "compactor-1");
}

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);

function rangesOf(numbers: readonly number[]): readonly (readonly [number, number])[] {
  const ranges: [number, number][] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] >= number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

/** Leaves out as many as it can, in ever smaller pieces. */
async function without(
  all: readonly number[],
  leaveOut: (some: readonly number[]) => Promise<boolean>,
): Promise<void> {
  let left = all;
  for (let size = left.length; size >= 1; size = Math.floor(size / 2)) {
    const needed: number[] = [];
    for (let at = 0; at < left.length; at += size) {
      const piece = left.slice(at, at + size);
      if (!(await leaveOut(piece))) needed.push(...piece);
    }
    left = needed;
  }
}
