import { describe, expect, it } from "vitest";
import { estimateNeeds, excessError, excessOf, findExcess } from "./compaction-budget.ts";
import type { Run } from "./formats.ts";
import type { CompactionPlan } from "./plan-compaction.ts";
import { SiltError } from "./silt-error.ts";

const MIB = 1024 * 1024;

function planOf(runs: number, rowsEach: number, bytesEach: number): CompactionPlan {
  const run = { rows: { put: rowsEach, patch: 0, delete: 0 } } as Run;
  const all = Array.from({ length: runs }, () => run);
  return { runs: all, kept: [], merged: [], bytes: runs * bytesEach, deferrable: true };
}

describe("findExcess()", () => {
  it("I8 everything that a plan needs grows with the plan, and nothing is needed for free", () => {
    const small = estimateNeeds(planOf(1, 10, 1_000));
    const large = estimateNeeds(planOf(1_000, 10_000, 2 * MIB));
    for (const key of ["diskBytes", "memoryBytes", "timeMs"] as const) {
      expect(small[key]).toBeGreaterThan(0);
      expect(large[key]).toBeGreaterThan(small[key]);
    }
    expect(large.diskBytes).toBe(3 * 2_000 * MIB + 16 * MIB);
  });

  it("I8 names the first resource that is short, with its numbers, and nothing without limits", () => {
    const plan = planOf(10, 1_000, MIB);
    const needs = estimateNeeds(plan);
    expect(findExcess(plan, {})).toBeUndefined();
    expect(findExcess(plan, needs)).toBeUndefined();
    for (const [resource, key] of [
      ["disk", "diskBytes"],
      ["memory", "memoryBytes"],
      ["time", "timeMs"],
    ] as const) {
      const available = needs[key] - 1;
      const excess = { resource, needed: needs[key], available, runs: 10, deferrable: true };
      expect(findExcess(plan, { ...needs, [key]: available })).toEqual(excess);
    }
  });
});

describe("excessOf()", () => {
  it("finds the excess that a compaction was given up for, and no other failure's", () => {
    const excess = {
      resource: "time",
      needed: 2,
      available: 1,
      runs: 3,
      deferrable: false,
    } as const;
    const error = excessError("lines/abc/0-of-1", excess);
    expect(error).toMatchObject({
      kind: "unavailable",
      message:
        'Cannot compact "lines/abc/0-of-1": 1 ms are left, 2 are needed; compact from a machine without a limit',
    });
    expect(excessOf(error)).toEqual(excess);
    expect(excessOf(new SiltError("unavailable", "throttled"))).toBeUndefined();
    expect(excessOf(new Error("other"))).toBeUndefined();
  });
});
