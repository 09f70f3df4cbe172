import { createSeededRandom, randomLog } from "@silt/testkit";
import { expect, it } from "vitest";
import { createDeltaBuffer } from "./delta-buffer.ts";
import { compose } from "./fold.ts";
import { EMPTY_CONTENT } from "./row.ts";

const SEEDS = 2_000;

it("createDeltaBuffer() folds in place exactly as compose() does", () => {
  let rows = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = createSeededRandom(seed);
    const log = randomLog(random, 1 + random.int(8));
    const buffer = createDeltaBuffer();
    for (const content of log) buffer.apply(content);
    const expected = log.reduce((older, newer) => compose(older, newer), EMPTY_CONTENT);
    expect(buffer.content(), `seed ${seed}`).toEqual(expected);
    rows += expected.rows.size;
  }
  expect(rows).toBeGreaterThan(SEEDS);
});

it("createDeltaBuffer() counts what it holds, also when rows are overwritten", () => {
  const buffer = createDeltaBuffer();
  const row = {
    operation: "put" as const,
    id: "a",
    parent: "p",
    embedding: new Uint8Array(4_000),
    document: "x".repeat(1_000),
    metadata: {},
    sequence: 0,
  };
  buffer.add(row);
  const once = buffer.bytes;
  expect(once).toBeGreaterThan(5_000);
  buffer.add(row);
  expect(buffer.bytes).toBe(once);
  buffer.replace("p");
  expect(buffer.bytes).toBeLessThan(1_000);
  expect(buffer.size).toBe(2);
});
