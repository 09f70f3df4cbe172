import { distanceOf, isSiltError, METRICS, type Metric } from "@silt/core";
import { createSeededRandom } from "@silt/testkit";
import { describe, expect, it } from "vitest";
import type { Neighbour } from "./ranking.ts";
import type { VectorSource } from "./row-memory.ts";
import { loadVectorBlock, type VectorBlock } from "./vector-block.ts";

const seeded = (seed: number) => createSeededRandom(seed).fraction;

function randomRows(count: number, dimension: number, seed: number, scale = 1): Float32Array[] {
  const random = seeded(seed);
  return Array.from({ length: count }, () =>
    Float32Array.from({ length: dimension }, () => (random() - 0.5) * scale),
  );
}

function sourceOf(rows: readonly Float32Array[], dimension: number): VectorSource {
  return {
    dimension,
    count: rows.length,
    read(target, firstRow, count) {
      for (let row = 0; row < count; row++) {
        target.set(rows[firstRow + row] as Float32Array, row * dimension);
      }
    },
  };
}

const dimensionOf = (rows: readonly Float32Array[]) => (rows[0] as Float32Array).length;
const open = (rows: readonly Float32Array[], metric: Metric, memoryBytesMax?: number) =>
  loadVectorBlock(sourceOf(rows, dimensionOf(rows)), {
    metric,
    ...(memoryBytesMax === undefined ? {} : { memoryBytesMax }),
  });

/** The definition: all rows by (float64 distance, index). */
function bruteForce(rows: readonly Float32Array[], metric: Metric, query: Float32Array) {
  return rows
    .map((row, index): Neighbour => ({ index, distance: distanceOf(metric, query, row) }))
    .filter(({ distance }) => !Number.isNaN(distance))
    .sort((a, b) => a.distance - b.distance || a.index - b.index);
}

function expectExact(block: VectorBlock, rows: readonly Float32Array[], query: Float32Array) {
  const expected = bruteForce(rows, block.metric, query);
  for (const limit of [1, 10]) {
    expect(block.nearest(query, limit)).toEqual(expected.slice(0, limit));
  }
  expect([...block.ranked(query, 3)]).toEqual(expected);
}

describe.each(METRICS)("VectorBlock with %s", (metric) => {
  it.each([1, 2, 3, 4, 5, 7, 16, 17, 63, 384, 512, 1536])(
    "gives what sorting by distanceOf gives, in %i dimensions",
    (dimension) => {
      const rows = randomRows(300, dimension, dimension);
      const block = open(rows, metric);
      for (const query of randomRows(3, dimension, 1_000 + dimension)) {
        expectExact(block, rows, query);
      }
    },
  );

  it("orders rows that differ by one float32 step only", () => {
    const dimension = 384;
    const [center, far] = randomRows(2, dimension, 5) as [Float32Array, Float32Array];
    const random = seeded(6);
    const rows = Array.from({ length: 800 }, () => {
      const row = center.slice();
      const bits = new Int32Array(row.buffer);
      const at = Math.floor(random() * dimension);
      bits[at] = (bits[at] as number) + (random() < 0.5 ? 1 : -1);
      return row;
    });
    const block = open(rows, metric);
    expectExact(block, rows, center);
    expectExact(block, rows, far);
    // The trap is real: float32 alone gets the order wrong.
    const rough = [...block.distances(far)].map((distance, index) => ({ index, distance }));
    rough.sort((a, b) => a.distance - b.distance || a.index - b.index);
    const exact = bruteForce(rows, metric, far);
    expect(rough.map(({ index }) => index)).not.toEqual(exact.map(({ index }) => index));
  });

  it("orders equal vectors by index", () => {
    const [vector, other] = randomRows(2, 7, 8) as [Float32Array, Float32Array];
    const rows = Array.from({ length: 500 }, (_, index) => (index % 3 === 0 ? other : vector));
    expectExact(open(rows, metric), rows, vector);
  });

  it.each([1e-30, 1e-20, 1e-10, 1e10, 1e18, 1e25])("is exact at scale %f", (scale) => {
    const rows = [...randomRows(40, 9, 1, scale), ...randomRows(40, 9, 2, 1)];
    const block = open(rows, metric);
    expectExact(block, rows, (rows as [Float32Array])[0]);
    expectExact(block, rows, rows[79] as Float32Array);
  });

  it("answers the same in a window as in memory", () => {
    const rows = randomRows(5_000, 130, 12);
    const resident = open(rows, metric);
    const windowed = open(rows, metric, 100_000);
    expect([resident.mode, windowed.mode]).toEqual(["resident", "windowed"]);
    expect(windowed.bytes).toBeLessThan(resident.bytes / 2);
    for (const query of randomRows(3, 130, 13)) {
      expect(windowed.distances(query)).toEqual(resident.distances(query));
      const expected = bruteForce(rows, metric, query);
      expect(windowed.nearest(query, 100)).toEqual(expected.slice(0, 100));
      expect([...windowed.ranked(query, 1_000)]).toEqual(expected);
    }
  });

  it("lets rankings be interleaved", () => {
    const rows = randomRows(400, 5, 20);
    const block = open(rows, metric);
    const [one, two] = randomRows(2, 5, 21) as [Float32Array, Float32Array];
    const rankings = [block.ranked(one, 2), block.ranked(two, 2)] as const;
    const given: Neighbour[][] = [[], []];
    for (let step = 0; step < rows.length * 2; step++) {
      const next = rankings[(step % 2) as 0 | 1].next();
      if (!next.done) given[step % 2]?.push(next.value);
    }
    expect(given).toEqual([bruteForce(rows, metric, one), bruteForce(rows, metric, two)]);
  });

  it("distances() are within float32 rounding", () => {
    const rows = randomRows(50, 384, 30);
    const [query] = randomRows(1, 384, 31) as [Float32Array];
    open(rows, metric)
      .distances(query)
      .forEach((distance, row) => {
        expect(distance).toBeCloseTo(distanceOf(metric, query, rows[row] as Float32Array), 4);
      });
  });
});

describe("VectorBlock", () => {
  it("holds nothing, one row, and fewer rows than are asked for", () => {
    const empty = loadVectorBlock(sourceOf([], 4), { metric: "l2" });
    expect(empty.nearest(new Float32Array(4), 10)).toEqual([]);
    const rows = randomRows(1, 4, 40);
    expect(open(rows, "l2").nearest(rows[0] as Float32Array, 10)).toEqual([
      { index: 0, distance: 0 },
    ]);
    expect(open(rows, "l2").nearest(rows[0] as Float32Array, 0)).toEqual([]);
  });

  it("F67 a stored zero vector is nobody's neighbour under cosine", () => {
    const rows = [Float32Array.of(0, 0), Float32Array.of(1, 0), Float32Array.of(0, 1)];
    const found = open(rows, "cosine").nearest(Float32Array.of(1, 0), 3);
    expect(found.map(({ index }) => index)).toEqual([1, 2]);
  });

  it.each([
    [Float32Array.of(1, 2, 3), "3 dimensions, expected 2"],
    [Float32Array.of(1, Number.NaN), "no finite number"],
    [Float32Array.of(1, Number.POSITIVE_INFINITY), "no finite number"],
    [Float32Array.of(0, 0), "no direction"],
  ])("refuses the query %j", (query, reason) => {
    const block = open(randomRows(3, 2, 50), "cosine");
    const search = () => block.nearest(query, 1);
    expect(search).toThrow(reason);
    expect(search).toThrow(expect.toSatisfy((error) => isSiltError(error, "invalid")));
  });

  it("reads each row once, in order, and closes the source when it needs no more of it", () => {
    const rows = randomRows(1_500, 600, 60);
    const events: string[] = [];
    const plain = sourceOf(rows, 600);
    let next = 0;
    const source: VectorSource = {
      ...plain,
      read(target, firstRow, count) {
        expect(firstRow).toBe(next);
        next += count;
        plain.read(target, firstRow, count);
      },
      close: () => events.push("closed"),
    };
    const block = loadVectorBlock(source, { metric: "ip" });
    expect([next, events]).toEqual([1_500, ["closed"]]);
    block.nearest(rows[0] as Float32Array, 5);
    block[Symbol.dispose]();
    expect([next, events]).toEqual([1_500, ["closed"]]);

    next = 0;
    const windowed = loadVectorBlock(source, { metric: "ip", memoryBytesMax: 1 });
    expect([next, events]).toEqual([1_500, ["closed"]]);
    windowed[Symbol.dispose]();
    expect(events).toEqual(["closed", "closed"]);
  });

  it("closes the source when reading fails, and passes the failure on", () => {
    const events: string[] = [];
    const failing: VectorSource = {
      dimension: 2,
      count: 3,
      read() {
        throw new Error("disk gone");
      },
      close: () => events.push("closed"),
    };
    expect(() => loadVectorBlock(failing, { metric: "l2" })).toThrow("disk gone");
    expect(events).toEqual(["closed"]);
  });
});
