/** A sample of the damage matrix of a store on AWS: `npm run damage-matrix -- --store-kind aws`. */
import { beforeAll, describe, expect, it } from "vitest";
import { totalsOf } from "../../proof/damage/render-matrix.ts";
import type { Matrix } from "../../proof/damage/run-matrix.ts";
import { runAwsMatrix } from "./run-aws-matrix.ts";

const SEED = 1;
const PLACES = 1;
const EVERY_AIMED = 200;
const EVERY_AIMED_ITEM = 60;

let objects: Matrix;
let items: Matrix;
beforeAll(async () => {
  const sample = { seed: SEED, places: PLACES };
  objects = await runAwsMatrix({ ...sample, everyAimed: EVERY_AIMED, only: /^(?!log item)/ });
  items = await runAwsMatrix({ ...sample, everyAimed: EVERY_AIMED_ITEM, only: /^log item/ });
}, 600_000);

describe("I1 I3 F31 F61 damage on AWS", () => {
  it("to an object is found, named and never answered from", () => {
    expect(objects.failures).toEqual([]);
    const { meaningful, found, named, unseen, wrong } = totalsOf(objects);
    expect({ found, named }).toEqual({ found: meaningful, named: meaningful });
    expect({ unseen, wrong }).toEqual({ unseen: 0, wrong: 0 });
    expect(objects.kinds.length).toBeGreaterThan(10);
  });

  it("to an item of the log is found and named, but for what the list says nobody can see", () => {
    expect(items.failures).toEqual([]);
    const { meaningful, found, named, wrong } = totalsOf(items);
    expect({ found, named, wrong }).toEqual({ found: meaningful, named: meaningful, wrong: 0 });
    expect(items.kinds.length).toBeGreaterThan(6);
  });
});
