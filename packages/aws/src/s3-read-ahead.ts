import type { ReadOutcome } from "@silt/core";

/** Reads begun before they are asked for: what is small lies in memory then, what is large its first range. */
const AHEAD_MAX = 8;

export interface ReadAhead {
  /** The read of a key that was announced, once; any other read, and a second one, is a new one. */
  read(key: string): Promise<ReadOutcome>;
  /** Announces reads, in their order. Disposed, those that were not asked for are forgotten. */
  announce(keys: readonly string[]): Disposable;
}

/** Hides the way to the store where many small objects are read one after the other. */
export function createReadAhead(readNow: (key: string) => Promise<ReadOutcome>): ReadAhead {
  const begun = new Map<string, Promise<ReadOutcome>>();
  const announced = new Set<string[]>();
  const begin = (waiting: string[]) => {
    while (begun.size < AHEAD_MAX) {
      const key = waiting.shift();
      if (key === undefined) return;
      if (begun.has(key)) continue;
      const reading = readNow(key);
      // Whoever asks for it hears of it; nobody may.
      reading.catch(() => {});
      begun.set(key, reading);
    }
  };
  return {
    read(key) {
      const reading = begun.get(key);
      if (reading === undefined) return readNow(key);
      begun.delete(key);
      for (const waiting of announced) begin(waiting);
      return reading;
    },
    announce(keys) {
      const waiting = [...keys];
      announced.add(waiting);
      begin(waiting);
      return {
        [Symbol.dispose]() {
          announced.delete(waiting);
          for (const key of keys) begun.delete(key);
        },
      };
    },
  };
}
