/**
 * What can go wrong, and how often in this schedule. Each seed switches some kinds off altogether and
 * draws a rate for the others (swarm testing): a fault that is rare among many is common alone.
 */
import type { SeededRandom } from "../seeded-random.ts";

/** Faults of one call of one actor. */
export const CALL_FAULTS = [
  /** The process dies before its request has an effect, or after it; it starts again later. */
  "crash-before",
  "crash-after",
  /** The request never arrives; the caller is told that the store is unavailable. */
  "lost-request",
  /** The request had its effect, but its answer is lost. */
  "lost-answer",
  /** The caller gave up waiting; the request lands later, maybe after later ones. */
  "late-request",
  /** An SDK sends the request twice; the second answer is given, which meets the first one's effect. */
  "sdk-retry",
  /** The store says "try again" (409) and did nothing. */
  "try-again",
  /** The process sleeps, for seconds or for hours. */
  "pause",
] as const;

/** What happens at any step, to somebody or to everybody. */
export const WEATHER_FAULTS = [
  "throttled",
  "throttled-all",
  /** Reads under a prefix are denied for a while. */
  "denied",
  /** A wrong prefix: everything under it looks absent to one actor for a while (F57). */
  "vanished",
  /** What one actor reads of bundles is not what is stored, for a while. */
  "garbled",
  "disk-full",
  "clock-jump",
  /** Hours pass between two steps. */
  "time-leap",
  /** A bit of an object flips at rest; later it may be restored. */
  "damaged",
  /** An object is gone; later it may be restored. */
  "missing",
  "restored",
  /** A file in some reader's cache changes. */
  "cache-damaged",
] as const;

export const HINT_FAULTS = ["hint-lost", "hint-doubled", "hint-late"] as const;

export type CallFault = (typeof CALL_FAULTS)[number];
export type WeatherFault = (typeof WEATHER_FAULTS)[number];
export type HintFault = (typeof HINT_FAULTS)[number];
export type FaultKind = CallFault | WeatherFault | HintFault;

export type Rates<Kind extends string> = readonly (readonly [Kind, number])[];

/** Chance of each kind, at each of its occasions. */
export interface FaultRates {
  readonly call: Rates<CallFault>;
  readonly weather: Rates<WeatherFault>;
  readonly hint: Rates<HintFault>;
}

export const NO_FAULTS: FaultRates = { call: [], weather: [], hint: [] };

const OFF_CHANCE = 0.45;
const CALL_RATES = [0.001, 0.004, 0.015, 0.05];
const WEATHER_RATES = [0.0005, 0.002, 0.006];
const HINT_RATES = [0.05, 0.2, 0.5];

/** Rates of one seed. */
export function drawRates(random: SeededRandom, without: ReadonlySet<string>): FaultRates {
  const draw = <Kind extends string>(kinds: readonly Kind[], rates: readonly number[]) =>
    kinds.flatMap((kind): (readonly [Kind, number])[] => {
      const on = !random.chance(OFF_CHANCE);
      const rate = random.pick(rates);
      return on && !without.has(kind) ? [[kind, rate]] : [];
    });
  return {
    call: draw(CALL_FAULTS, CALL_RATES),
    weather: draw(WEATHER_FAULTS, WEATHER_RATES),
    hint: draw(HINT_FAULTS, HINT_RATES),
  };
}

/** The fault that a number in [0, 1) stands for. */
export function pickFault<Kind extends string>(rates: Rates<Kind>, dice: number): Kind | undefined {
  let sum = 0;
  for (const [kind, rate] of rates) {
    sum += rate;
    if (dice < sum) return kind;
  }
  return undefined;
}
