import { shardPartition } from "./object-keys.ts";
import type { LogTransaction } from "./ports.ts";
import { assert } from "./silt-error.ts";

/** Throws `internal` for a transaction that no plan makes: gaps, or the same shard, run or guard twice. */
export function checkTransaction({ appends, guards }: LogTransaction): void {
  const seen = new Set<string>();
  const once = (what: string) => {
    assert(!seen.has(what), `a transaction holds ${what} once`);
    seen.add(what);
  };
  for (const { shard, expected, next, runs } of appends) {
    once(`shard ${shardPartition(shard)}`);
    for (const [index, run] of runs.entries()) {
      once(`run ${run.runId} of ${shardPartition(shard)}`);
      assert(run.sequence === expected.sequence + 1 + index, `run ${run.runId} is consecutive`);
    }
    assert(
      next.sequence === expected.sequence + runs.length,
      `HEAD of ${shardPartition(shard)} ends at its last run`,
    );
  }
  for (const { expectedRev, next } of guards) {
    once(`guard ${next.family} ${next.uri}`);
    assert(next.rev > expectedRev, `the guard of ${next.uri} rises`);
  }
}
