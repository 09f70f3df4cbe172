/** A sample of the damage matrix: every kind and every damage, some places of each. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DAMAGES } from "./damage-case.ts";
import { totalsOf } from "./render-matrix.ts";
import { type Matrix, runMatrix } from "./run-matrix.ts";
import { becomeUnprivileged } from "./unprivileged.ts";

const SEED = 1;
const PLACES = 4;
const EVERY_AIMED = 30;

let matrix: Matrix;
let unprivileged: Disposable;
beforeAll(async () => {
  unprivileged = becomeUnprivileged();
  matrix = await runMatrix({ seed: SEED, places: PLACES, everyAimed: EVERY_AIMED });
}, 600_000);
afterAll(() => unprivileged[Symbol.dispose]());

describe("I1 I3 F31 F61 damage of any kind to anything that is persisted", () => {
  it("is found, named and never answered from", () => {
    expect(matrix.failures).toEqual([]);
    const { meaningful, found, named, wrong } = totalsOf(matrix);
    expect({ found, named, wrong }).toEqual({ found: meaningful, named: meaningful, wrong: 0 });
  });

  it("was done to every kind, in every way that it can be done", () => {
    expect(matrix.kinds.length).toBeGreaterThan(20);
    for (const damage of DAMAGES) {
      const cells = matrix.kinds.map(({ cells }) => cells.get(damage)?.total ?? 0);
      expect(cells.filter((total) => total > 0).length, damage).toBeGreaterThan(2);
    }
  });

  it("is harmless in few places, and only where the list says why", () => {
    const harmless = matrix.kinds.filter(({ sum }) => sum.harmless > 0);
    expect(harmless.map(({ kind }) => kind.name)).toEqual(
      expect.arrayContaining(["log row: hint"]),
    );
    for (const { kind, sum } of harmless) {
      if (kind.name !== "log row: hint") expect(sum.found, kind.name).toBeGreaterThan(0);
    }
  });
});
