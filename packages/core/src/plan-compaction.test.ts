import { describe, expect, it } from "vitest";
import {
  type CompactionPolicy,
  DEFAULT_POLICY,
  type Run,
  type SegmentDescriptor,
} from "./formats.ts";
import { openExclusionStart, planCompaction, tombstonesSinceOf } from "./plan-compaction.ts";

const NOW_MS = Date.UTC(2026, 5, 1);
const KIB = 1024;
const MIB = 1024 * KIB;
const TIERED: CompactionPolicy = DEFAULT_POLICY.compaction;
const SINGLE: CompactionPolicy = { ...TIERED, strategy: "single" };
const DAY_MS = 24 * 3600 * 1000;

const at = (ms: number) => new Date(ms).toISOString();

interface Size {
  readonly bytes: number;
  readonly put?: number;
  readonly tombstones?: number;
  readonly since?: number;
}

function segment(first: number, last: number, size: Size): SegmentDescriptor {
  const { bytes, put = Math.round(bytes / KIB), tombstones = 0, since } = size;
  return {
    object: { key: `${first}-${last}`, bytes, sha256: "0".repeat(64), codec: "none" },
    firstSequence: first,
    lastSequence: last,
    rows: { put, patch: 0, delete: tombstones },
    replaced: 0,
    sums: { v: "0".repeat(32), t: "0".repeat(32) },
    tombstonesSince: since === undefined ? null : at(since),
    sidecars: [],
  };
}

function pending(sequence: number, size: Size, more: Partial<Run> = {}): Run {
  const { bytes, put = Math.round(bytes / KIB), tombstones = 0 } = size;
  return {
    format: 1,
    requires: [],
    sequence,
    runId: `run-${sequence}`,
    delta: { key: `run-${sequence}`, bytes, sha256: "0".repeat(64), codec: "tar" },
    rows: { put, patch: 0, delete: tombstones },
    replaced: 0,
    source: null,
    companions: [],
    retryOf: null,
    registeredAt: at(NOW_MS),
    runsHash: "0".repeat(64),
    ...more,
  };
}

const plan = (
  segments: readonly SegmentDescriptor[],
  runs: readonly Run[],
  policy: CompactionPolicy,
  nowMs = NOW_MS,
) => planCompaction({ segments: [...segments], excluded: [] }, runs, policy, nowMs);

/** Segments far enough apart in size that a small delta touches none but the last. */
const steps = [
  segment(1, 100, { bytes: 1_000 * MIB }),
  segment(101, 110, { bytes: 60 * MIB }),
  segment(111, 112, { bytes: 2 * MIB }),
];

describe("planCompaction()", () => {
  it("has nothing to do without pending runs or due rewrites", () => {
    expect(plan([], [], TIERED)).toBeUndefined();
    expect(plan(steps, [], TIERED)).toBeUndefined();
    expect(plan(steps, [], SINGLE)).toBeUndefined();
  });

  it("is pure: the same state gives the same plan, and is not changed", () => {
    const state = structuredClone(steps);
    const runs = [pending(113, { bytes: MIB })];
    expect(plan(state, runs, TIERED)).toEqual(plan(steps, structuredClone(runs), TIERED));
    expect(state).toEqual(steps);
  });

  it("single: merges all segments with all pending runs", () => {
    const runs = [pending(113, { bytes: KIB }), pending(114, { bytes: KIB })];
    expect(plan(steps, runs, SINGLE)).toEqual({
      runs,
      kept: [],
      merged: steps,
      bytes: 1_062 * MIB + 2 * KIB,
      deferrable: false,
    });
  });

  it("tiered: leaves large segments alone, and always splits into an old and a new part", () => {
    for (const bytes of [KIB, MIB, 10 * MIB, 40 * MIB, 500 * MIB]) {
      const { kept = [], merged = [] } = plan(steps, [pending(113, { bytes })], TIERED) ?? {};
      expect([...kept, ...merged]).toEqual(steps);
      expect(kept[0]).toBe(steps[0]);
    }
  });

  it("tiered: merges a tier once it is worth it, by growing the largest input enough", () => {
    const small = Array.from({ length: 15 }, (_, index) =>
      segment(101 + index, 101 + index, { bytes: MIB }),
    );
    const run = pending(116, { bytes: MIB });
    const [oldest] = steps as [SegmentDescriptor];
    expect(plan([oldest, ...small.slice(1)], [run], TIERED)?.merged).toHaveLength(0);
    expect(plan([oldest, ...small], [run], TIERED)?.merged).toHaveLength(15);
  });

  it("tiered: below the small size all is one segment, for it costs nothing", () => {
    const small = [segment(1, 5, { bytes: MIB }), segment(6, 6, { bytes: KIB })];
    const run = pending(7, { bytes: KIB });
    expect(plan(small, [run], TIERED)?.kept).toEqual([]);
    expect(plan(small, [run], { ...TIERED, smallBytes: 0 })?.kept).toEqual(small);
  });

  it("tiered: rewrites the oldest when the newer ones have outgrown it", () => {
    const grown = [segment(1, 1, { bytes: 10 * MIB }), segment(2, 9, { bytes: 25 * MIB })];
    expect(plan(grown, [pending(10, { bytes: MIB })], TIERED)?.kept).toEqual([]);
  });

  it("F62 rewrites all when tombstones above the oldest pass their share of the rows", () => {
    const oldest = segment(1, 9, { bytes: 100 * MIB, put: 1_000 });
    const few = pending(10, { bytes: KIB, put: 0, tombstones: 200 });
    const many = pending(10, { bytes: KIB, put: 0, tombstones: 300 });
    expect(plan([oldest], [few], TIERED)?.kept).toEqual([oldest]);
    expect(plan([oldest], [many], TIERED)?.kept).toEqual([]);
    const replaced = pending(10, { bytes: KIB, put: 0 }, { replaced: 300 });
    expect(plan([oldest], [replaced], TIERED)?.kept).toEqual([]);
  });

  it("F62 rewrites all when a tombstone is older than its age, also with nothing pending", () => {
    const since = NOW_MS - TIERED.tombstoneAgeMs;
    const aged = [
      steps[0] as SegmentDescriptor,
      segment(101, 101, { bytes: KIB, tombstones: 1, since }),
    ];
    expect(plan(aged, [], TIERED)).toEqual({
      runs: [],
      kept: [],
      merged: aged,
      bytes: 1_000 * MIB + KIB,
      deferrable: true,
    });
    expect(plan(aged, [], TIERED, NOW_MS - 1)).toBeUndefined();
  });

  it("F62 tombstones that an open exclusion keeps in the oldest segment are not rewritten for ever", () => {
    const since = NOW_MS - 30 * DAY_MS;
    const aged = segment(1, 9, { bytes: KIB, tombstones: 1, since });
    const excluded = {
      from: 2,
      to: 2,
      runIds: ["run-2"],
      reason: "damaged",
      excludedAt: at(since),
      cause: "poison" as const,
      retriedBy: null,
    };
    const open = { segments: [aged], excluded: [excluded] };
    expect(planCompaction(open, [], TIERED, NOW_MS)).toBeUndefined();
    const closed = { segments: [aged], excluded: [{ ...excluded, retriedBy: "run-10" }] };
    expect(planCompaction(closed, [], TIERED, NOW_MS)?.merged).toEqual([aged]);
  });

  it("what keeps a shard in shape can wait, and its runs need not", () => {
    const run = pending(113, { bytes: 40 * KIB });
    const old = NOW_MS - 8 * DAY_MS;
    const due = [steps[0], segment(101, 110, { bytes: 60 * MIB, tombstones: 1, since: old })];
    const hidden = [steps[0], segment(101, 110, { bytes: 60 * MIB, tombstones: 600_000 })];
    const outgrown = [segment(1, 10, { bytes: 10 * MIB }), segment(11, 20, { bytes: 900 * MIB })];
    for (const segments of [due, hidden, outgrown] as SegmentDescriptor[][]) {
      const manifest = { segments, excluded: [] };
      const whole = planCompaction(manifest, [run], TIERED, NOW_MS);
      expect(whole).toMatchObject({ merged: segments, deferrable: true });
      const least = planCompaction(manifest, [run], TIERED, NOW_MS, { defer: true });
      expect(least).toMatchObject({ runs: [run], merged: [], deferrable: false });
    }
    const idle = { segments: due as SegmentDescriptor[], excluded: [] };
    expect(planCompaction(idle, [], TIERED, NOW_MS)?.deferrable).toBe(true);
    expect(planCompaction(idle, [], TIERED, NOW_MS, { defer: true })).toBeUndefined();
    // One segment is what the other strategy is about.
    const single = { ...TIERED, strategy: "single" as const };
    expect(planCompaction(idle, [run], single, NOW_MS, { defer: true })?.merged).toEqual(due);
  });

  it("I8 F33 takes no more runs than one pass may, in number and in bytes, but always one", () => {
    const runs = Array.from({ length: 10 }, (_, index) => pending(index + 1, { bytes: MIB }));
    const taken = (policy: Partial<CompactionPolicy>) =>
      plan([], runs, { ...TIERED, ...policy })?.runs.map(({ sequence }) => sequence);
    expect(taken({ runsMax: 3 })).toEqual([1, 2, 3]);
    expect(taken({ bytesMax: 4 * MIB })).toEqual([1, 2, 3, 4]);
    expect(taken({ bytesMax: 1 })).toEqual([1]);
    expect(taken({})).toHaveLength(10);
  });

  it("I8 never leaves more segments than allowed", () => {
    const policy = { ...TIERED, smallBytes: 0, segmentsMax: 4, rewriteRatio: 1_000 };
    const segments: SegmentDescriptor[] = [];
    for (let sequence = 1; sequence <= 60; sequence++) {
      const bytes = sequence === 1 ? 1_000 * MIB : (61 - sequence) * MIB;
      const next = plan(segments, [pending(sequence, { bytes })], policy);
      segments.splice(0, Number.POSITIVE_INFINITY, ...(next?.kept ?? []));
      const first = next?.merged[0]?.firstSequence ?? sequence;
      segments.push(segment(first, sequence, { bytes: next?.bytes ?? 0 }));
      expect(segments.length).toBeLessThanOrEqual(4);
    }
  });
});

/** Compacts after each of `deltas` deltas, half of each new and half updates, on a large base. */
function simulate(policy: CompactionPolicy, deltas: number, deltaBytes: number, baseBytes: number) {
  let segments: SegmentDescriptor[] = [segment(1, 1, { bytes: baseBytes })];
  let [written, most] = [0, 0];
  for (let sequence = 2; sequence <= deltas + 1; sequence++) {
    const next = plan(segments, [pending(sequence, { bytes: deltaBytes })], policy);
    if (next === undefined) throw new Error("nothing planned");
    // Updates of what is merged leave the output smaller; here nothing does, which is the worst case.
    const first = next.merged[0]?.firstSequence ?? sequence;
    segments = [...next.kept, segment(first, sequence, { bytes: next.bytes })];
    written += next.bytes;
    most = Math.max(most, segments.length);
  }
  return { amplification: written / (deltas * deltaBytes), most };
}

describe("write amplification", () => {
  const RECORD_BYTES = 1_600;

  it("of 200 deltas of 1,000 on 100,000 records: at most 2.5 tiered, some 130 single", () => {
    const [delta, base] = [1_000 * RECORD_BYTES, 100_000 * RECORD_BYTES];
    const tiered = simulate(TIERED, 200, delta, base);
    const single = simulate(SINGLE, 200, delta, base);
    expect(tiered.amplification).toBeLessThanOrEqual(2.5);
    expect(tiered.most).toBeLessThanOrEqual(TIERED.segmentsMax);
    expect(single.amplification).toBeGreaterThan(100);
    expect(single.most).toBe(1);
  });

  it("grows with the logarithm of the number of deltas, not with the number", () => {
    const [delta, base] = [MIB, 10_000 * MIB];
    const some = simulate(TIERED, 256, delta, base).amplification;
    const many = simulate(TIERED, 4_096, delta, base).amplification;
    expect(many - some).toBeLessThan(2);
  });
});

describe("openExclusionStart()", () => {
  const exclusion = (from: number, retriedBy: string | null) => ({
    from,
    to: from,
    runIds: [],
    cause: "poison" as const,
    reason: "",
    excludedAt: at(0),
    retriedBy,
  });

  it("is the first run of an exclusion that may still come back", () => {
    expect(openExclusionStart([])).toBeUndefined();
    expect(openExclusionStart([exclusion(3, "x")])).toBeUndefined();
    expect(openExclusionStart([exclusion(9, null), exclusion(5, null), exclusion(3, "x")])).toBe(5);
  });
});

describe("tombstonesSinceOf()", () => {
  const out = (tombstones: number) => segment(1, 3, { bytes: KIB, tombstones });

  it("F62 is the age of the oldest input that had one, and null without any", () => {
    const old = segment(1, 1, { bytes: KIB, tombstones: 1, since: NOW_MS - DAY_MS });
    const run = pending(2, { bytes: KIB, tombstones: 1 });
    const puts = pending(3, { bytes: KIB }, { registeredAt: at(0) });
    expect(tombstonesSinceOf(out(0), [old], [run])).toBeNull();
    expect(tombstonesSinceOf(out(2), [old], [run, puts])).toBe(at(NOW_MS - DAY_MS));
    expect(tombstonesSinceOf(out(1), [], [run, puts])).toBe(at(NOW_MS));
  });
});
