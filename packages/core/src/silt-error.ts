/**
 * What the caller must do about a failure:
 * `conflict` plan again · `fenced` stop, someone newer works · `unavailable` retry later ·
 * `invalid` reject the input · `corrupt` raise an alarm and delete nothing · `internal` a bug.
 */
export type SiltErrorKind =
  | "conflict"
  | "fenced"
  | "unavailable"
  | "invalid"
  | "corrupt"
  | "internal";

/** The one error class. Messages read `Cannot <action> "<id>": <state>, expected <state>`. */
export class SiltError extends Error {
  readonly kind: SiltErrorKind;
  /**
   * Machine-readable facts about the failure, e.g. the `runs` that were durable before it; `denied`
   * when a right is missing, so that the same call fails until somebody grants it.
   */
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(
    kind: SiltErrorKind,
    message: string,
    options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SiltError";
    this.kind = kind;
    this.details = options.details;
  }
}

/** True for a {@link SiltError}, of the given kind when one is named. */
export function isSiltError(error: unknown, kind?: SiltErrorKind): error is SiltError {
  return error instanceof SiltError && (kind === undefined || error.kind === kind);
}

/** The text of anything thrown, for the end of a message. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Throws `internal` unless `condition` holds: a bug here, never the caller's input. */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new SiltError("internal", `Broken assumption: ${claim}`);
}
