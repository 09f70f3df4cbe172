import { describe, expect, it } from "vitest";
import { type KernelName, LANES, openKernels, roundingsPerScore } from "./wasm-kernel.ts";

/** Small whole numbers: every sum is exact in float32, so the order of additions can't matter. */
const component = (row: number, index: number) => ((row * 31 + index * 7) % 23) - 11;

const EXPECTED: Record<KernelName, (row: number[], query: number[], scale: number) => number> = {
  ip: (row, query) => -row.reduce((sum, x, i) => sum + x * (query[i] as number), 0),
  l2: (row, query) => row.reduce((sum, x, i) => sum + (x - (query[i] as number)) ** 2, 0),
  cosine: (row, query, scale) => scale * EXPECTED.ip(row, query, 1),
  squares: (row) => row.reduce((sum, x) => sum + x * x, 0),
};

/** Runs a kernel over 5 rows whose first lies at `rowsAt`; scores, then one float beyond them. */
function run(name: KernelName, dimension: number, rowsAt: number): number[] {
  const width = Math.ceil(dimension / LANES) * LANES;
  const { memory, kernels } = openKernels(rowsAt + 5 * width * 4);
  const at = (address: number, length: number) => new Float32Array(memory.buffer, address, length);
  const [scoresAt, scalesAt] = [width * 4, width * 4 + 32];
  at(0, dimension).set(Array.from({ length: dimension }, (_, index) => component(9, index)));
  at(scoresAt, 6).fill(-7);
  at(scalesAt, 5).set([1, 2, 0.5, 4, 0.25]);
  for (let row = 0; row < 5; row++) {
    const components = Array.from({ length: dimension }, (_, index) => component(row, index));
    at(rowsAt + row * width * 4, dimension).set(components);
  }
  kernels[name](rowsAt, 5, 0, width * 4, scoresAt, scalesAt);
  return [...at(scoresAt, 6)];
}

function expected(name: KernelName, dimension: number): number[] {
  const vector = (row: number) =>
    Array.from({ length: dimension }, (_, index) => component(row, index));
  const scores = [1, 2, 0.5, 4, 0.25].map((scale, row) =>
    EXPECTED[name](vector(row), vector(9), scale),
  );
  return [...scores, -7];
}

const NAMES = Object.keys(EXPECTED) as KernelName[];

describe("kernels", () => {
  it.each(NAMES)("%s scores rows of any length, and writes nothing beyond", (name) => {
    for (let dimension = 1; dimension <= 70; dimension++) {
      expect([dimension, ...run(name, dimension, 4096)]).toEqual([
        dimension,
        ...expected(name, dimension),
      ]);
    }
  });

  it.each(NAMES)("%s reads rows beyond 2 GiB, and up to the last byte of 4 GiB", (name) => {
    expect(run(name, 384, 3 * 1024 ** 3)).toEqual(expected(name, 384));
    expect(run(name, 384, 4 * 1024 ** 3 - 5 * 384 * 4)).toEqual(expected(name, 384));
  });

  it("do nothing for no rows", () => {
    const { memory, kernels } = openKernels(64);
    kernels.ip(0, 0, 0, 16, 32, 0);
    expect(new Uint8Array(memory.buffer).every((byte) => byte === 0)).toBe(true);
  });

  it("roundingsPerScore() counts blocks of four vectors, tail vectors and the final trees", () => {
    expect([1, 4, 5, 16, 17, 384].map(roundingsPerScore)).toEqual([7, 7, 8, 7, 8, 30]);
  });
});
