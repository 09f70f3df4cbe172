import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { SiltError } from "@silt/core";
import {
  AWAITS_MIN,
  createFoldEngine,
  FLIPS_MIN,
  KNOWN_SEEDS,
  type SimulatedEngine,
  shrink,
  simulate,
} from "@silt/testkit";
import { beforeAll, describe, expect, it } from "vitest";
import { type RunReport, runSeeds } from "./run-seeds.ts";

const MAIN = join(import.meta.dirname, "main.ts");
/** New ones, beside those that failed once. */
const SEEDS = 5_000;
const SQLITE_EVERY = 500;

/** What five thousand schedules must have seen, or they tested less than they say. */
const SEEN = [
  ...["flips", "merges", "takeovers", "compact: lost", "compact: busy", "exclusions", "retried"],
  ...["rollback: rolled-back", "rollback: busy", "refused rollbacks", "collect", "retired"],
  ...["objects deleted", "abandoned", "fenced", "crashes", "blocked reads", "unclear flips"],
  ...[
    "read",
    "read fresh",
    "read old",
    "write",
    "delete where",
    "ingest: done",
    "ingest: guard-moved",
  ],
  ...["pin", "unpin", "policy", "sweep", "long sleeps"],
  ...["crash-before", "crash-after", "lost-request", "lost-answer", "late-request", "sdk-retry"],
  ...["try-again", "pause", "throttled", "throttled-all", "denied", "vanished", "garbled"],
  ...["disk-full", "clock-jump", "time-leap", "damaged", "missing", "restored", "cache-damaged"],
  ...["hint-lost", "hint-doubled", "hint-late"],
];

describe("I1 to I7 in simulated schedules", () => {
  let report: RunReport;
  beforeAll(async () => {
    report = await runSeeds({
      from: 1,
      to: SEEDS,
      workers: availableParallelism(),
      sqliteEvery: SQLITE_EVERY,
      failuresMax: 5,
    });
  }, 600_000);

  it(`hold in ${SEEDS} schedules, some of them on real SQLite`, () => {
    expect(report.failures).toEqual([]);
    expect(report.schedules).toBe(SEEDS);
    expect(report.sqliteSeeds).toBe(SEEDS / SQLITE_EVERY);
  });

  it("are tried by schedules of which none is trivial", () => {
    expect(report.stepsMin).toBeGreaterThanOrEqual(AWAITS_MIN);
    expect(report.flipsMin).toBeGreaterThanOrEqual(FLIPS_MIN);
  });

  it("meet every kind of fault, of race and of outcome", () => {
    expect(SEEN.filter((what) => !report.totals[what])).toEqual([]);
  });

  it.each(KNOWN_SEEDS)("hold in seed $seed: $why", async ({ seed }) => {
    expect((await simulate(seed)).violation).toBeUndefined();
  });
});

describe("a schedule", () => {
  it("F48 is the same each time, and in another process", async () => {
    for (const seed of [3, 14, 15]) {
      const { hash, steps } = await simulate(seed);
      expect(await simulate(seed, { trace: true })).toMatchObject({ hash, steps });
      const child = spawnSync(process.execPath, [MAIN, "--seed", String(seed), "--json"]);
      expect(JSON.parse(child.stdout.toString())).toMatchObject({ hash, steps });
    }
  });

  it("is another one for another seed", async () => {
    const hashes = await Promise.all([1, 2, 3, 4].map(async (seed) => (await simulate(seed)).hash));
    expect(new Set(hashes).size).toBe(4);
  });
});

/** Merges that lose a row now and then, with books that balance all the same. */
function forgetfulEngine(): SimulatedEngine {
  const engine = createFoldEngine();
  return {
    contentOf: engine.contentOf,
    async openWorkbench() {
      const workbench = await engine.openWorkbench();
      return {
        ...workbench,
        async merge(owner, inputs, options) {
          const merged = await workbench.merge(owner, inputs, options);
          if (merged.rows.put < 3) return merged;
          const without = inputs.slice(0, -1);
          if (without.length === 0) return merged;
          const less = await workbench.merge(owner, without, options);
          return { ...merged, source: less.source, bytes: less.bytes, sha256: less.sha256 };
        },
      };
    },
  };
}

describe("shrink()", () => {
  it("finds the story of a broken schedule: few faults, few operations, the same promise broken", async () => {
    const seeds = Array.from({ length: 20 }, (_, index) => index + 1);
    for (const seed of seeds) {
      const engine = forgetfulEngine();
      const broken = await simulate(seed, { engine });
      if (broken.violation === undefined) continue;
      const shrunk = await shrink(seed, {}, { engine, triesMax: 300 });
      expect(shrunk?.result.violation?.invariant).toBe(broken.violation.invariant);
      expect(shrunk?.result.steps).toBeLessThanOrEqual(broken.steps);
      expect(shrunk?.result.faults).toBeLessThanOrEqual(1);
      const again = await simulate(seed, { engine, cuts: shrunk?.cuts ?? {} });
      expect(again.hash).toBe(shrunk?.result.hash);
      return;
    }
    expect.fail("no schedule noticed the lost rows");
  });

  it("says nothing of a sound schedule", async () => {
    expect(await shrink(1)).toBeUndefined();
  });

  it("takes an error without a kind, or a broken assumption, for a violation", async () => {
    for (const error of [new TypeError("oops"), new SiltError("internal", "oops")]) {
      const engine = createFoldEngine();
      const openWorkbench = () => Promise.reject(error);
      const { violation } = await simulate(1, { engine: { ...engine, openWorkbench } });
      expect(violation).toMatchObject({ invariant: "ERR", message: expect.stringMatching(/oops/) });
    }
  });
});
