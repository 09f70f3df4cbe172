/** The words of the matrix: what is damaged, how, and what must be said of it. */
import type { SeededRandom } from "@silt/testkit";
import type { Observation } from "./observe-case.ts";

/** The columns. */
export const DAMAGES = [
  "one bit, anywhere",
  "one bit, aimed",
  "cut",
  "grown",
  "zeroed page",
  "another of its kind",
  "older version",
  "gone",
  "twice",
  "unreadable",
] as const;
export type Damage = (typeof DAMAGES)[number];

export interface RunCounts {
  readonly lines: number;
  readonly words: number;
}

export interface DamageCase {
  readonly damage: Damage;
  /** Tells this case from others of the same damage: a structure, an offset, a statement. */
  readonly where: string;
  apply(): void | Promise<void>;
  /** The object whose name the report must say; default: the kind's. */
  readonly object?: string | RegExp;
  /** Runs of `lines` that a compaction may leave out for this. */
  readonly mayExclude?: readonly number[];
  /** Why nobody can see it, where a log has no digests of its own: then it need not be found. */
  readonly unseen?: string;
  /** The store is sound as of when its collections had so many runs: answers of that moment are right. */
  readonly asOf?: RunCounts;
}

/** Who has to notice: `verify`, or a reader that opens its cache. */
export type Detector = "verify" | "reader";

/** A row of the matrix: a kind of persisted thing. */
export interface DamagedKind {
  readonly name: string;
  readonly detector: Detector;
  /** The object that must be named. */
  readonly object: string | RegExp;
  /** Kinds of problems and notices that say what it is. */
  readonly kinds: RegExp;
  /** Another collection cannot do without it either. */
  readonly shared?: true;
  /** Looking at one collection does not show it. */
  readonly wholeStore?: true;
  /** How to look at a case, for what is no part of a store. Default: from every side. */
  readonly observe?: (damaged: DamageCase) => Promise<Observation>;
  /** All cases, with bits at `places` random places. */
  cases(random: SeededRandom, places: number): readonly DamageCase[];
}

export const nameMatches = (expected: string | RegExp, name: string): boolean =>
  typeof expected === "string" ? expected === name : expected.test(name);
