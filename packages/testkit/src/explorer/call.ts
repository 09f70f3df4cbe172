/** One call of a port, not carried out yet: what it would do to a world, and what it touches there. */
import type { Applied, LogTransaction, ShardRef, VersionKey } from "@silt/core";
import type { World } from "./world.ts";

export type Resource =
  | "object"
  | "folder"
  | "pointer"
  | "config"
  | "plan"
  | "head"
  | "runs"
  | "run-id"
  | "applied"
  | "versions"
  | "lease"
  | "hints"
  | "guard";

export interface Touch {
  readonly what: Resource;
  /** Object key or run id, where one is named. */
  readonly key: string;
  readonly writes: boolean;
  /** Of a page of runs: the last sequence number that it can hold. */
  readonly through?: number;
}

/** What the checker must know of a call beyond its effect. */
export type CallDetail =
  | { readonly kind: "put"; readonly key: string; readonly value: number }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "commit"; readonly transaction: LogTransaction }
  | { readonly kind: "retire"; readonly shard: ShardRef; readonly version: VersionKey }
  | { readonly kind: "raise"; readonly shard: ShardRef; readonly applied: Applied }
  | { readonly kind: "acquire"; readonly shard: ShardRef }
  | { readonly kind: "other" };

export interface Step<T> {
  readonly world: World;
  /** Equal answers are equal results. */
  readonly answer: string;
  /** The result as the caller gets it; throws where the call fails. */
  readonly value: () => T;
}

export interface Call<T = unknown> {
  /** E.g. `objects.put`. */
  readonly name: string;
  /** What a person wants to read of the arguments. */
  readonly about: string;
  readonly touches: readonly Touch[];
  readonly detail: CallDetail;
  readonly apply: (world: World) => Step<T>;
}

/** Carries a call out, sooner or later. */
export type Perform = <T>(call: Call<T>) => Promise<T>;

export const reads = (what: Resource, key = "", through?: number): Touch => ({
  what,
  key,
  writes: false,
  ...(through === undefined ? {} : { through }),
});
export const writes = (what: Resource, key = ""): Touch => ({ what, key, writes: true });

export const OTHER: CallDetail = { kind: "other" };
