/** Pure: a shard's log as a chain, run by run, past what is damaged in it. */
import type { Pointer, Run } from "./formats.ts";
import type { Head, ShardRef } from "./ports.ts";
import { EMPTY_RUNS_HASH, nextRunsHash } from "./run-chain.ts";
import { checkChain } from "./shard-state.ts";
import { isSiltError } from "./silt-error.ts";
import type { RunsBasis } from "./verify-runs.ts";

/** How far the chain of runs was followed: the hash up to there, or the two that it may be. */
export interface ChainState {
  readonly sequence: number;
  /** Empty when unknown: then the next run is believed. */
  readonly hashes: readonly string[];
}

export const CHAIN_START: ChainState = { sequence: 0, hashes: [EMPTY_RUNS_HASH] };

/** Stands for a HEAD that is not reached: HEAD itself is checked at the end. */
const NO_HEAD: Head = {
  sequence: Number.MAX_SAFE_INTEGER,
  runsHash: "",
  floor: "",
  excluding: null,
  excludeRev: 0,
};

/** Pure: one run further. `gap`: runs that should lie between and don't. */
export function followRun(
  shard: ShardRef,
  state: ChainState,
  run: Run,
): {
  readonly next: ChainState;
  readonly gap?: { readonly from: number; readonly to: number };
  readonly broken?: string;
} {
  const believed: ChainState = { sequence: run.sequence, hashes: [run.runsHash] };
  const from = state.sequence + 1;
  if (run.sequence > from) return { next: believed, gap: { from, to: run.sequence - 1 } };
  const [first, second] = state.hashes.map((runsHash) =>
    chainProblem(shard, { appliedThrough: state.sequence, runsHash }, NO_HEAD, [run]),
  );
  if (state.hashes.length === 0 || first === undefined) return { next: believed };
  if (state.hashes.length === 2 && second === undefined) return { next: believed };
  // Either its hash or its id is damaged: the next run tells which.
  const computed = nextRunsHash(state.hashes[0] as string, run.runId);
  const hashes = computed === run.runsHash ? [computed] : [computed, run.runsHash];
  return { next: { sequence: run.sequence, hashes }, broken: first };
}

/** What `checkChain()` says, without stopping. */
export function chainProblem(
  shard: ShardRef,
  from: Pick<Pointer, "appliedThrough" | "runsHash">,
  head: Head,
  runs: readonly Run[],
): string | undefined {
  try {
    checkChain(shard, from, head, runs);
    return undefined;
  } catch (error) {
    if (!isSiltError(error, "corrupt")) throw error;
    return error.message;
  }
}

/**
 * Pure: where the chain stands when the log has nothing up to `before`. Once its floor has risen it may
 * have forgotten the oldest runs, but none that is not applied.
 */
export function reached(
  state: ChainState,
  { head, pointer, appliedThrough }: Pick<RunsBasis, "head" | "pointer" | "appliedThrough">,
  before: number,
): ChainState {
  if (state.sequence > 0 || head === undefined || head.floor === "") return state;
  const sequence = Math.min(before, appliedThrough);
  if (sequence === 0) return state;
  const isPointers = sequence === pointer?.appliedThrough;
  return { sequence, hashes: isPointers ? [pointer.runsHash] : [] };
}
