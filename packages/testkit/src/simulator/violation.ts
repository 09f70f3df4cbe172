/** A broken promise, found by the checker. */
export class Violation extends Error {
  /** E.g. `I2`; `ERR` = an operation failed in a way that nothing explains. */
  readonly invariant: string;

  constructor(invariant: string, claim: string) {
    super(`${invariant}: ${claim}`);
    this.name = "Violation";
    this.invariant = invariant;
  }
}

/** Throws a {@link Violation} unless `condition` holds. */
export function demand(
  condition: boolean,
  invariant: string,
  claim: string | (() => string),
): asserts condition {
  if (condition) return;
  throw new Violation(invariant, typeof claim === "string" ? claim : claim());
}
