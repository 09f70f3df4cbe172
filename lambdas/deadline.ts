import { SiltError } from "@silt/core";
import type { Context } from "aws-lambda";

/** When a function must have stopped. Dispose it with the work. */
export interface Deadline extends Disposable {
  /** Aborts when nothing but the answer should be worked on. */
  readonly signal: AbortSignal;
  /** Of an invocation that has just begun. */
  readonly wholeMs: number;
  remainingMs(): number;
  /** Resolves when half of the margin is over, too: what still hangs is left to hang. */
  readonly lastCall: Promise<void>;
}

/** A margin never takes more of a short limit than this. */
const MARGIN_SHARE_MAX = 0.5;

/** The limit of the invocation that begins now, less a margin. */
export function deadlineOf(
  context: Pick<Context, "getRemainingTimeInMillis">,
  marginMs: number,
): Deadline {
  const limitMs = Math.max(0, context.getRemainingTimeInMillis());
  const margin = Math.min(marginMs, limitMs * MARGIN_SHARE_MAX);
  const controller = new AbortController();
  const last = Promise.withResolvers<void>();
  const timers = [
    setTimeout(
      () => controller.abort(new SiltError("unavailable", "The function's time is up")),
      limitMs - margin,
    ),
    setTimeout(last.resolve, limitMs - margin / 2),
  ];
  return {
    signal: controller.signal,
    wholeMs: limitMs - margin,
    remainingMs: () => Math.max(0, context.getRemainingTimeInMillis() - margin),
    lastCall: last.promise,
    [Symbol.dispose]: () => {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
