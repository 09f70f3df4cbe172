import { distanceOf, METRICS, type Metric } from "@silt/core";
import { describe, expect, it } from "vitest";
import { loadRows } from "./row-memory.ts";
import { cosineScale, scoreBounds } from "./score-bounds.ts";

/** Components whose products all round the same way: the worst that a float32 sum can meet. */
function biased(dimension: number, row: number): Float32Array {
  const step = 2 ** -23;
  return Float32Array.from({ length: dimension }, (_, i) => 1 + ((i * 7 + row) % 5) * step);
}

function norm(vector: Float32Array): number {
  return Math.sqrt(vector.reduce((sum, component) => sum + component * component, 0));
}

/** Error of each score against the exact distance, as a share of what its bounds allow. */
function errorShares(metric: Metric, dimension: number): number[] {
  const rows = Array.from({ length: 40 }, (_, row) => biased(dimension, row));
  const source = {
    dimension,
    count: rows.length,
    read: (target: Float32Array, firstRow: number, count: number) => {
      for (let i = 0; i < count; i++) {
        target.set(rows[firstRow + i] as Float32Array, i * dimension);
      }
    },
  };
  const memory = loadRows(source, 1024 ** 3);
  const squareMax = Math.max(...memory.scales);
  memory.scales.set(memory.scales.map(cosineScale));
  const query = Float32Array.from({ length: dimension }, (_, i) => (i % 2 ? -1 : 3) / (i + 1.7));
  const length = norm(query);
  memory.score(metric, metric === "cosine" ? query.map((x) => x / length) : query);
  const bounds = scoreBounds(metric, dimension, squareMax, length);
  return rows.map((row, index) => {
    const score = memory.scores[index] as number;
    const exact = distanceOf(metric, query, row);
    const middle = metric === "l2" ? score : 1 + score;
    return Math.abs(exact - middle) / (middle - bounds.lowest(score));
  });
}

describe("scoreBounds()", () => {
  it.each(METRICS)(
    "%s: no score is further off than allowed, nor the bound a blank cheque",
    (metric) => {
      for (const dimension of [1, 3, 16, 100, 384, 1_536, 16_384]) {
        const shares = errorShares(metric, dimension);
        expect(Math.max(...shares)).toBeLessThanOrEqual(1);
      }
      expect(Math.max(...errorShares(metric, 384))).toBeGreaterThan(1e-3);
    },
  );

  it.each(METRICS)("%s: rows beyond reach(score) cannot beat one with that score", (metric) => {
    const bounds = scoreBounds(metric, 384, 4, 2);
    for (const score of [-1, -0.5, 0, 1e-30, 0.25, 3]) {
      if (metric === "l2" && score < 0) continue;
      const middle = metric === "l2" ? score : 1 + score;
      const highest = 2 * middle - bounds.lowest(score);
      expect(bounds.lowest(bounds.reach(score))).toBeGreaterThanOrEqual(highest - 1e-15);
    }
  });

  it("ip: bounds nothing when a dot product could overflow", () => {
    expect(scoreBounds("ip", 4, 1e38, 1e20).reach(-1)).toBe(Number.POSITIVE_INFINITY);
    expect(scoreBounds("ip", 4, Number.POSITIVE_INFINITY, 1).reach(-1)).toBe(
      Number.POSITIVE_INFINITY,
    );
  });

  it("cosineScale() is NaN where float32 squares are worthless", () => {
    expect(cosineScale(4)).toBe(0.5);
    for (const square of [0, 1e-40, Number.POSITIVE_INFINITY, Number.NaN]) {
      expect(cosineScale(square)).toBeNaN();
    }
  });
});
