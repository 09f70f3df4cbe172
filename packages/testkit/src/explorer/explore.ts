/**
 * `explore(configuration, limits)`: every interleaving of the real protocol within the limits. Time stands still: a
 * lease that runs out is one more thing that may happen, and the collector's grace is over at once. An actor's code
 * runs until its next call of a port; what that call finds is all that it learns of the others, so that a state is the
 * stores, and where each actor is (`local-states.ts`). Calls that can't matter to anyone are not interleaved
 * (`independence.ts`). Each flip, deletion, registration and claim is checked (`checker.ts`, `claims.ts`), and a share
 * of all worlds is left to who comes after, as if everybody had died there (`settle.ts`).
 */
import type { Configuration, Limits } from "./configuration.ts";
import { Explorer, type Found, type Totals } from "./explorer.ts";

export interface ExploreReport extends Totals {
  readonly configuration: string;
  readonly limits: Limits;
  /** Everything within the limits was seen. */
  readonly complete: boolean;
  readonly found: Found | undefined;
  readonly seconds: number;
  /** Hashes of the worlds in which executions end; empty unless the limits ask for them. */
  readonly endings: readonly string[];
}

/**
 * Explores a configuration. `complete` is false when a violation was found, or `limits.seconds` ran out.
 * A crash is an actor that never gets its turn again, so every state stands for the crash of any of them there.
 */
export async function explore(
  configuration: Configuration,
  limits: Limits,
): Promise<ExploreReport> {
  const startedAt = performance.now();
  const explorer = new Explorer(configuration, limits);
  const seconds = () => (performance.now() - startedAt) / 1000;
  const { complete, found } = await explorer.run(
    () => limits.seconds !== undefined && seconds() > limits.seconds,
  );
  return {
    configuration: configuration.name,
    limits,
    ...explorer.totals,
    complete,
    found,
    seconds: seconds(),
    endings: [...explorer.endings].sort(),
  };
}
