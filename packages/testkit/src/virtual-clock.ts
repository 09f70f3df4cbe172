import type { Clock } from "@silt/core";

export interface VirtualClock extends Clock {
  /** Moves time on, waking sleepers and firing timers in the order of their times. */
  advance(ms: number): Promise<void>;
  /** Moves the wall clock alone, as an administrator or a time server does; wakes nobody. */
  jump(ms: number): void;
  /** When the next sleeper or timer is due, in ms; undefined when nobody waits. */
  nextDueMs(): number | undefined;
}

export interface VirtualClockOptions {
  readonly startMs?: number;
  /** `wait` (default) until {@link VirtualClock.advance}; `skip`: each sleep moves time on by itself. */
  readonly sleeps?: "wait" | "skip";
}

interface Timer {
  /** On the clock that never jumps. */
  dueMs: number;
  readonly everyMs: number | undefined;
  readonly fire: () => void;
}

/** Turns of the microtask queue that the woken get before time moves on. */
const TURNS = 20;
const START_MS = Date.UTC(2026, 0, 1);

/** A clock that only moves when it is told to. */
export function createVirtualClock(options: VirtualClockOptions = {}): VirtualClock {
  const { startMs = START_MS, sleeps = "wait" } = options;
  let elapsedMs = 0;
  let jumpedMs = 0;
  const timers = new Set<Timer>();

  const next = () => {
    let first: Timer | undefined;
    for (const timer of timers) {
      if (first === undefined || timer.dueMs < first.dueMs) first = timer;
    }
    return first;
  };
  const fire = (timer: Timer) => {
    elapsedMs = Math.max(elapsedMs, timer.dueMs);
    if (timer.everyMs === undefined) timers.delete(timer);
    else timer.dueMs += timer.everyMs;
    timer.fire();
  };

  function sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      if (sleeps === "skip") {
        elapsedMs += ms;
        setImmediate(resolve);
        return;
      }
      const abort = () => {
        timers.delete(timer);
        reject(signal?.reason);
      };
      const wake = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const timer: Timer = { dueMs: elapsedMs + ms, everyMs: undefined, fire: wake };
      timers.add(timer);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  return {
    nowMs: () => startMs + elapsedMs + jumpedMs,
    sleep,
    every(ms, action) {
      const timer: Timer = { dueMs: elapsedMs + ms, everyMs: Math.max(1, ms), fire: action };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    async advance(ms) {
      const untilMs = elapsedMs + ms;
      for (let timer = next(); timer !== undefined && timer.dueMs <= untilMs; timer = next()) {
        fire(timer);
        for (let turn = 0; turn < TURNS; turn++) await Promise.resolve();
      }
      elapsedMs = untilMs;
    },
    jump(ms) {
      jumpedMs += ms;
    },
    nextDueMs() {
      const timer = next();
      return timer && startMs + jumpedMs + timer.dueMs;
    },
  };
}
