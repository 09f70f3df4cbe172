/** What the methods of a store take and give, where no part of it has a file of its own. */
import type { VersionSelection } from "@silt/reader";

export interface VerifyOptions {
  readonly collections?: readonly string[] | undefined;
  /** Also read every row with a second build of SQLite. */
  readonly deep?: boolean | undefined;
  /** Also check this older version of the one collection that is named, to its last row. */
  readonly version?: VersionSelection | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface CompactOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?:
    | ((shard: string, step: string, done: number, total: number) => void)
    | undefined;
}

export interface PinOptions {
  /** Who holds it; default "operator". */
  readonly owner?: string | undefined;
  readonly reason?: string | undefined;
  /** E.g. `0-of-4`; may be left out where there is one. */
  readonly shard?: string | undefined;
}

export interface PinReport {
  readonly collection: string;
  readonly shard: string;
  readonly version: number;
  readonly owner: string;
}
