import { describe, expect, it } from "vitest";
import type { Run } from "./formats.ts";
import { EMPTY_RUNS_HASH, nextRunsHash } from "./run-chain.ts";
import { type ChainState, exclusionOf, followRun } from "./verify-runs.ts";

const SHARD = { collection: "lines", storeId: "store0000001", shard: "0-of-1" };

/** A sound log of `count` runs. */
function logOf(count: number): readonly Run[] {
  const runs: Run[] = [];
  for (let sequence = 1; sequence <= count; sequence++) {
    const runId = `run-${sequence}`;
    runs.push({
      format: 1,
      requires: [],
      sequence,
      runId,
      delta: { key: runId, bytes: 1, sha256: "", codec: "tar" },
      rows: { put: 1, patch: 0, delete: 0 },
      replaced: 0,
      source: null,
      companions: [],
      retryOf: null,
      registeredAt: "now",
      runsHash: nextRunsHash(runs.at(-1)?.runsHash ?? EMPTY_RUNS_HASH, runId),
    });
  }
  return runs;
}

/** What is found on the way through a log. */
function followed(runs: readonly Run[]) {
  let state: ChainState = { sequence: 0, hashes: [EMPTY_RUNS_HASH] };
  const broken: number[] = [];
  const gaps: { readonly from: number; readonly to: number }[] = [];
  for (const run of runs) {
    const step = followRun(SHARD, state, run);
    state = step.next;
    if (step.broken !== undefined) broken.push(run.sequence);
    if (step.gap !== undefined) gaps.push(step.gap);
  }
  return { broken, gaps, sequence: state.sequence };
}

const changed = (index: number, change: Partial<Run>) =>
  logOf(6).map((run, at) => (at === index ? { ...run, ...change } : run));

describe("followRun()", () => {
  it("finds nothing in a log as registration makes it", () => {
    expect(followed(logOf(50))).toEqual({ broken: [], gaps: [], sequence: 50 });
  });

  it("names a run whose hash is damaged, and no other", () => {
    for (let index = 0; index < 6; index++) {
      expect(followed(changed(index, { runsHash: "0".repeat(64) })).broken).toEqual([index + 1]);
    }
  });

  it("names a run whose id is damaged, and no other", () => {
    for (let index = 0; index < 6; index++) {
      expect(followed(changed(index, { runId: "other" })).broken).toEqual([index + 1]);
    }
  });

  it("names every run of a log whose ids are another store's", () => {
    const runs = logOf(4).map((run) => ({ ...run, runId: `other-${run.sequence}` }));
    expect(followed(runs).broken).toEqual([1, 2, 3, 4]);
  });

  it("names a gap by its runs, and goes on behind it", () => {
    const runs = logOf(9).filter(({ sequence }) => ![1, 4, 5].includes(sequence));
    expect(followed(runs)).toEqual({
      broken: [],
      gaps: [
        { from: 1, to: 1 },
        { from: 4, to: 5 },
      ],
      sequence: 9,
    });
  });

  it("believes the first run behind what could not be read", () => {
    const [, , third, fourth] = logOf(4) as [Run, Run, Run, Run];
    const step = followRun(SHARD, { sequence: 2, hashes: [] }, third);
    expect(step).toEqual({ next: { sequence: 3, hashes: [third.runsHash] } });
    expect(followRun(SHARD, step.next, fourth).broken).toBeUndefined();
  });
});

describe("exclusionOf()", () => {
  it("finds the range that holds a run, ends included", () => {
    const range = { from: 3, to: 5, runIds: [], reason: "", excludedAt: "", retriedBy: null };
    const manifest = { excluded: [range] } as unknown as Parameters<typeof exclusionOf>[0];
    expect([2, 3, 5, 6].map((sequence) => exclusionOf(manifest, sequence))).toEqual([
      undefined,
      range,
      range,
      undefined,
    ]);
    expect(exclusionOf(undefined, 3)).toBeUndefined();
  });
});
