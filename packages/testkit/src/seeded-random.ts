import type { Random } from "@silt/core";

export interface SeededRandom extends Random {
  readonly seed: number;
  /** Uniform in 0 … `below` - 1. */
  int(below: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
  shuffle<T>(items: readonly T[]): T[];
  /** An independent stream: what it gives does not depend on how much this one was used since. */
  fork(): SeededRandom;
}

/**
 * Reproducible randomness from a 32-bit seed: the mulberry32 generator (Tommy Ettinger, public
 * domain), a counter that is multiplied and shifted; good enough to choose tests by, no secret.
 */
export function createSeededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const nextUint32 = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const fraction = () => nextUint32() / 2 ** 32;
  const int = (below: number) => Math.floor(fraction() * below);
  return {
    seed,
    fraction,
    int,
    bytes: (length) => Uint8Array.from({ length }, () => nextUint32() & 0xff),
    chance: (probability) => fraction() < probability,
    pick<T>(items: readonly T[]): T {
      if (items.length === 0) throw new RangeError("Cannot pick from nothing");
      return items[int(items.length)] as T;
    },
    shuffle<T>(items: readonly T[]): T[] {
      const shuffled = [...items];
      for (let last = shuffled.length - 1; last > 0; last--) {
        const other = int(last + 1);
        [shuffled[last], shuffled[other]] = [shuffled[other] as T, shuffled[last] as T];
      }
      return shuffled;
    },
    fork: () => createSeededRandom(nextUint32()),
  };
}
