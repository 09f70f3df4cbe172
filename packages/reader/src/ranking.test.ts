import { createSeededRandom } from "@silt/testkit";
import { describe, expect, it } from "vitest";
import { rankExactly, smallestScore } from "./ranking.ts";
import type { ScoreBounds } from "./score-bounds.ts";

const seeded = (seed: number) => createSeededRandom(seed).fraction;

const within = (error: number): ScoreBounds => ({
  lowest: (score) => score - error,
  reach: (score) => score + 2 * error,
});

describe("smallestScore()", () => {
  it("is what sorting gives, above a floor, without NaN", () => {
    const random = seeded(1);
    for (let round = 0; round < 500; round++) {
      const length = 1 + Math.floor(random() * 60);
      const draw = () => (random() < 0.1 ? Number.NaN : Math.floor(random() * 20));
      const scores = Float32Array.from({ length }, draw);
      const count = 1 + Math.floor(random() * length);
      const above = random() < 0.3 ? Number.NEGATIVE_INFINITY : Math.floor(random() * 10);
      const sorted = [...scores].filter((score) => score > above).sort((a, b) => a - b);
      const expected = count < length ? sorted[count - 1] : undefined;
      expect(smallestScore(scores, above, count)).toBe(expected ?? Number.POSITIVE_INFINITY);
    }
  });
});

describe("rankExactly()", () => {
  it("orders by exact distance whatever the scores get wrong within their bounds", () => {
    const random = seeded(2);
    for (let round = 0; round < 300; round++) {
      const length = 1 + Math.floor(random() * 200);
      const error = 4;
      // Distances on a coarse grid, errors as large as allowed: ties and swaps everywhere.
      const exact = Array.from({ length }, () => Math.floor(random() * 30));
      const scores = Float32Array.from(exact, (distance) =>
        random() < 0.05 ? Number.NaN : distance + error * (random() < 0.5 ? 1 : -1),
      );
      const input = {
        scores: () => scores,
        bounds: within(error),
        distanceAt: (index: number) => exact[index] as number,
      };
      const expected = exact
        .map((distance, index) => ({ index, distance }))
        .sort((a, b) => a.distance - b.distance || a.index - b.index);
      const first = 1 + Math.floor(random() * 8);
      expect([...rankExactly(input, first)]).toEqual(expected);
      expect(rankExactly(input, first).take(first).toArray()).toEqual(expected.slice(0, first));
    }
  });

  it("computes few exact distances for few results", () => {
    const random = seeded(3);
    const exact = Array.from({ length: 10_000 }, random);
    let computed = 0;
    const input = {
      scores: () => Float32Array.from(exact),
      bounds: within(1e-6),
      distanceAt: (index: number) => {
        computed += 1;
        return exact[index] as number;
      },
    };
    expect(rankExactly(input, 10).take(10).toArray()).toHaveLength(10);
    expect(computed).toBeLessThan(20);
    expect(rankExactly(input, 10).take(50).toArray()).toHaveLength(50);
    expect(computed).toBeLessThan(100);
  });

  it("leaves out rows without a distance", () => {
    const input = {
      scores: () => Float32Array.of(Number.NaN, 2, Number.NaN, 1),
      bounds: within(0),
      distanceAt: (index: number) => [Number.NaN, 2, 0, 1][index] as number,
    };
    expect([...rankExactly(input, 1)].map(({ index }) => index)).toEqual([2, 3, 1]);
  });
});
