/** How the log waits for others who write the same items at the same moment. */
import { type Clock, isSiltError, type Random } from "@silt/core";
import { hasName } from "./aws-error.ts";

export interface Pace {
  readonly clock: Pick<Clock, "sleep">;
  readonly random: Pick<Random, "fraction">;
}

/** Tries of one call that met a transaction in flight, the first included: some 3 s in all. */
const BUSY_ATTEMPTS_MAX = 12;
const PAUSE_MS_FIRST = 10;
const PAUSE_MS_MAX = 500;

/** Full jitter in a window that doubles. `attempt` counts from 1. */
export async function pause({ clock, random }: Pace, attempt: number): Promise<void> {
  const window = Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST * 2 ** (attempt - 1));
  await clock.sleep(random.fraction() * window);
}

/**
 * Calls again, a bounded number of times, what others' transactions or a throttled item kept from
 * acting. The SDK does so for throttled requests, not for cancelled transactions.
 */
export async function patiently<Result>(pace: Pace, call: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (attempt === BUSY_ATTEMPTS_MAX || !isBusy(error)) throw error;
      await pause(pace, attempt);
    }
  }
}

/** The call has not acted (or the very same one is still at it), because others were at it. */
function isBusy(error: unknown): boolean {
  return (
    isSiltError(error, "unavailable") &&
    hasName(
      error.cause,
      "TransactionCanceledException",
      "TransactionConflictException",
      "TransactionInProgressException",
    )
  );
}
