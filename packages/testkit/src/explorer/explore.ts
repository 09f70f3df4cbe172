/** `explore(configuration, limits)`: every interleaving of the real protocol within the limits. */
import type { Configuration, Limits } from "./configuration.ts";
import { Explorer, type Found, type Totals } from "./explorer.ts";

export interface ExploreReport extends Totals {
  readonly configuration: string;
  readonly limits: Limits;
  /** Everything within the limits was seen. */
  readonly complete: boolean;
  readonly found: Found | undefined;
  readonly seconds: number;
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
  };
}
