/** Issue 4, hostile input: 2,000 cases of a fixed seed in the gate; `npm run fuzz` runs as many as one likes. */
import { expect, it } from "vitest";
import { runFuzz } from "./run-fuzz.ts";

const SEED = 20_261_125;
const CASES = 2_000;
const PEAK_BYTES_MAX = 1_024 ** 3;
const TARGETS = 13;

it(`F32 ${CASES} seeded hostile inputs are refused by reason or read exactly, and change nothing else`, async () => {
  const report = await runFuzz({ seed: SEED, first: 0, cases: CASES });
  expect(report.failures).toEqual([]);
  expect(report.cases).toBe(CASES);
  // Else all of this could be true of nothing.
  expect(Object.keys(report.endings)).toHaveLength(TARGETS);
  for (const [target, endings] of Object.entries(report.endings)) {
    expect(Object.keys(endings).length, `${target} ends in one way only`).toBeGreaterThan(1);
  }
  expect(report.peakBytes).toBeLessThan(PEAK_BYTES_MAX);
});

it("F32 a case is replayed by its number alone", async () => {
  const whole = await runFuzz({ seed: SEED, first: 0, cases: 40 });
  const endings: Record<string, Record<string, number>> = {};
  for (let first = 0; first < 40; first += 10) {
    const part = await runFuzz({ seed: SEED, first, cases: 10 });
    for (const [target, ended] of Object.entries(part.endings)) {
      const tally = endings[target] ?? {};
      endings[target] = tally;
      for (const [name, count] of Object.entries(ended)) tally[name] = (tally[name] ?? 0) + count;
    }
  }
  expect(endings).toEqual(whole.endings);
});
