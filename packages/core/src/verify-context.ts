import type { VectorField } from "./formats.ts";
import { shardPartition } from "./object-keys.ts";
import type { Ports, ShardRef, Workbench } from "./ports.ts";
import { SiltError } from "./silt-error.ts";
import type { Findings } from "./verify-report.ts";

/** What every piece of a verification works with. */
export interface VerifyContext {
  readonly ports: Ports;
  /** Read every row with a second build of SQLite too. */
  readonly deep: boolean;
  readonly signal: AbortSignal | undefined;
  readonly findings: Findings;
  readonly progress: VerifyProgress;
}

export interface ShardContext extends VerifyContext {
  readonly shard: ShardRef;
  /** The collection's; undefined when nothing says them. */
  readonly vectors: readonly VectorField[] | undefined;
  /** Applied bundles of runs registered up to here may be collected; undefined when none may, in ms. */
  readonly deltasKeptUntil: number | undefined;
}

/** `log: run 12 of lines/<storeId>/0-of-1`. */
export const logObject = (shard: ShardRef, what: string): string =>
  `log: ${what} of ${shardPartition(shard)}`;

export const runsText = (from: number, to: number): string =>
  from === to ? `run ${from}` : `runs ${from} to ${to}`;

export interface VerifyProgress {
  /** So many more things are known to be there. */
  expect(things: number): void;
  done(): void;
}

/** Counts things; what is found beyond what was expected raises the total. */
export function createProgress(
  onProgress: ((done: number, total: number) => void) | undefined,
): VerifyProgress {
  let done = 0;
  let total = 0;
  return {
    expect(things) {
      total += things;
    },
    done() {
      done += 1;
      total = Math.max(total, done);
      onProgress?.(done, total);
    },
  };
}

const DISK_RESERVE_BYTES = 16 * 1024 * 1024;

/** Throws `unavailable` unless so many bytes can be spooled: a full disk is no damage. */
export async function checkRoom(workbench: Workbench, key: string, bytes: number): Promise<void> {
  const free = await workbench.freeBytes();
  const needed = bytes + DISK_RESERVE_BYTES;
  if (free >= needed) return;
  throw new SiltError(
    "unavailable",
    `Cannot verify "${key}": ${free} bytes are free for temporary files, ${needed} are needed; free some space and try again`,
  );
}
