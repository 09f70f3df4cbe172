/** A small patch of the real code that loses data, or could, and what must notice. */
export interface PlantedBug {
  readonly name: string;
  /** What it does to somebody's data. */
  readonly harm: string;
  /** Each is applied exactly once; a place that has moved is an error, not a pass. */
  readonly edits: readonly Edit[];
  readonly caughtBy: Catcher;
}

export interface Edit {
  /** From the top of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export type Catcher =
  /** Schedules of the simulator from seed 1; `sqlite`: on the real segment engine. */
  | { readonly by: "simulator" }
  /** All interleavings of a configuration of the explorer. */
  | { readonly by: "explorer"; readonly configuration: string }
  /** Tests, of which at least one must fail. */
  | {
      readonly by: "tests";
      readonly what: string;
      readonly files: readonly string[];
      readonly project: string;
    }
  /** Real processes, killed. */
  | { readonly by: "kill-test"; readonly kills: number };

export const tests = (what: string, ...files: readonly string[]): Catcher => ({
  by: "tests",
  what,
  files,
  project: "main",
});
export const SIMULATOR: Catcher = { by: "simulator" };
