/** What a look at the health of a store says: one line a check. */
export interface HealthCheck {
  /** E.g. `log`, `disk`, `notes 0-of-1`. */
  readonly name: string;
  /** `problem`: it needs a person. */
  readonly state: "ok" | "notice" | "problem";
  readonly message: string;
  /** What to do; null where nothing is to be done. */
  readonly remedy: string | null;
}

export interface HealthReport {
  /** True when nothing needs a person. */
  readonly ok: boolean;
  readonly checks: readonly HealthCheck[];
}

export const ok = (name: string, message: string): HealthCheck => ({
  name,
  state: "ok",
  message,
  remedy: null,
});

export const notice = (name: string, message: string, remedy: string | null): HealthCheck => ({
  name,
  state: "notice",
  message,
  remedy,
});

export const problem = (name: string, message: string, remedy: string): HealthCheck => ({
  name,
  state: "problem",
  message,
  remedy,
});
