import { describe, expect, it } from "vitest";
import type { Exclusion } from "./formats.ts";
import { exclusionOf, reportExclusions } from "./verify-exclusions.ts";
import { createFindings } from "./verify-report.ts";

describe("exclusionOf()", () => {
  it("finds the range that holds a run, ends included", () => {
    const range = {
      from: 3,
      to: 5,
      runIds: [],
      reason: "",
      cause: "poison" as const,
      excludedAt: "",
      retriedBy: null,
    };
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

describe("reportExclusions()", () => {
  const SHARD = { collection: "lines", storeId: "store0000001", shard: "0-of-1" };
  const open: Exclusion = {
    from: 3,
    to: 4,
    runIds: ["run-a", "run-b"],
    reason: "poison",
    excludedAt: "2026-01-01T00:00:00.000Z",
    cause: "poison",
    retriedBy: null,
  };
  const reportOf = (exclusion: Exclusion, quarantined = new Map<number, string>()) => {
    const findings = createFindings();
    reportExclusions(SHARD, [exclusion], quarantined, findings);
    return findings.report();
  };

  it("makes one problem of an open exclusion: runs, reason and command, and how its bundles are now", () => {
    const quarantined = new Map([
      [2, "not told"],
      [4, "it is gone"],
    ]);
    const { problems, notices } = reportOf(open, quarantined);
    expect(notices).toEqual([]);
    expect(problems).toEqual([
      {
        object: "log: runs 3 to 4 of lines/store0000001/0-of-1",
        kind: "excluded-run",
        message:
          "run-a, run-b excluded since 2026-01-01T00:00:00.000Z: poison; bundle of run 4 now: it is gone",
        remedy:
          'Restore the bundle from a backup, then bring the run back: "silt quarantine retry run-a", "silt quarantine retry run-b".',
      },
    ]);
  });

  it("asks for no backup when the bundles are sound now", () => {
    expect(reportOf(open).problems[0]?.remedy).toMatch(/^Bring the run back: /);
  });

  it("makes a notice of one that came back", () => {
    const { ok, notices } = reportOf({ ...open, retriedBy: "run-9" });
    expect(ok).toBe(true);
    expect(notices).toMatchObject([
      { kind: "excluded-run", message: expect.stringMatching(/came back as run run-9$/) },
    ]);
  });
});
