import { describe, expect, it } from "vitest";
import type { Pointer, Run } from "./formats.ts";
import { EMPTY_RUNS_HASH, nextRunsHash } from "./run-chain.ts";
import { CHAIN_START, type ChainState, followRun, reached } from "./verify-run-chain.ts";

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

describe("reached()", () => {
  const head = { sequence: 9, runsHash: "", floor: "", excluding: null, excludeRev: 0 };
  const risen = { ...head, floor: "run-5" };
  const pointer = { appliedThrough: 6, runsHash: "of run 6" } as Pointer;

  it("is the start while the log has forgotten nothing: then a first run that is gone is a gap", () => {
    expect(reached(CHAIN_START, { head, pointer, appliedThrough: 6 }, 3)).toBe(CHAIN_START);
    expect(reached(CHAIN_START, { head: undefined, pointer, appliedThrough: 6 }, 3)).toBe(
      CHAIN_START,
    );
  });

  it("believes that applied runs before the first one kept were forgotten", () => {
    const state = reached(CHAIN_START, { head: risen, pointer, appliedThrough: 6 }, 3);
    expect(state).toEqual({ sequence: 3, hashes: [] });
  });

  it("never believes that a pending run was forgotten, and knows the hash up to it", () => {
    const state = reached(CHAIN_START, { head: risen, pointer, appliedThrough: 6 }, 8);
    expect(state).toEqual({ sequence: 6, hashes: ["of run 6"] });
    const ninth = logOf(9)[8] as Run;
    expect(followRun(SHARD, state, ninth).gap).toEqual({ from: 7, to: 8 });
  });

  it("changes nothing once a run was read", () => {
    const state = { sequence: 2, hashes: ["x"] };
    expect(reached(state, { head: risen, pointer, appliedThrough: 6 }, 5)).toBe(state);
  });
});
