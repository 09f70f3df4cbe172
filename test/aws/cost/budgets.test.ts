/**
 * What each step may ask of AWS at most, counted by the ports. docs/COST.md says what that costs. A step
 * that needs one request more is red here before it is on a bill. The functions' are in
 * function-budgets.test.ts.
 */
import type { AwsUsage } from "@silt/aws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Collection } from "../../../packages/silt/src/collection.ts";
import {
  type Budget,
  type MeteredStore,
  meteredStore,
  sumOf,
  within,
  withoutHeartbeat,
} from "./metered-store.fixture.ts";
import { dollarsOf } from "./prices.ts";

const DIMENSION = 384;
const record = (id: string) => ({
  id,
  embedding: Array.from({ length: DIMENSION }, (_, index) => Math.sin(index + id.length)),
  document: `document ${id}`,
  metadata: { shop: "Kino", page: 1 },
});
const query = { vector: record("query").embedding };

let metered: MeteredStore;
let notes: Collection;
beforeAll(async () => {
  metered = await meteredStore();
  notes = await metered.store.collection("notes", { dimension: DIMENSION });
  await withoutHeartbeat(metered.store, "notes");
});
afterAll(() => metered[Symbol.asyncDispose]());

const PUT: Budget = {
  "dynamodb.GetItem": 1, // HEAD
  "dynamodb.TransactWriteItems": 1,
  "s3.GetObject": 1, // what was put is read back
  "s3.PutObject": 1,
};
/** Besides one GetObject for each bundle, and for each segment that is merged. */
const COMPACT: Budget = {
  "dynamodb.GetItem": 7,
  "dynamodb.PutItem": 2,
  "dynamodb.Query": 1,
  "dynamodb.UpdateItem": 1,
  "s3.GetObject": 8,
  "s3.PutObject": 3, // segment, manifest, pointer
};

const many = (count: number, name: string) =>
  Array.from({ length: count }, (_, index) => record(`${name}-${index}`));

describe("a step asks AWS for no more than its budget:", () => {
  it("opening a store", async () => {
    within(await metered.measure(() => metered.reopen()), {
      "dynamodb.GetItem": 1,
      "s3.GetObject": 1,
    });
  });

  it.each([1, 1_000])("a put of %i records: six write units, whatever it holds", async (count) => {
    const usage = await metered.measure(() => notes.put(many(count, "put")));
    within(usage, PUT);
    expect(sumOf(usage, "writeUnits")).toBe(6);
    expect(sumOf(usage, "readUnits")).toBe(1);
  });

  it("a compaction of two runs into nothing", async () => {
    const usage = await metered.measure(() => metered.store.compact("notes"));
    within(usage, { ...COMPACT, "s3.GetObject": 8 + 2 });
    expect(sumOf(usage, "writeUnits")).toBeLessThanOrEqual(4);
  });

  it("a compaction of 20 runs: one read more for each, and nothing else", async () => {
    for (const each of many(20, "more")) await notes.put([each]);
    const usage = await metered.measure(() => metered.store.compact("notes"));
    within(usage, { ...COMPACT, "s3.GetObject": 8 + 20 + 1 });
  });

  it("a compaction with nothing to do", async () => {
    const usage = await metered.measure(() => metered.store.compact("notes"));
    within(usage, {
      "dynamodb.GetItem": 5,
      "dynamodb.PutItem": 1,
      "dynamodb.Query": 1,
      "dynamodb.UpdateItem": 1,
      "s3.GetObject": 6,
    });
  });

  it("F42 a query: the first fetches the version, the next asks for the pointer alone", async () => {
    await metered.measure(() => notes.query(query));
    within(await metered.measure(() => notes.query(query)), {
      "dynamodb.GetItem": 2,
      "s3.GetObject": 1,
    });
  });

  it("a fresh query: what is pending besides", async () => {
    await notes.put([record("fresh")]);
    within(await metered.measure(() => notes.query({ ...query, fresh: true })), {
      "dynamodb.GetItem": 2,
      "dynamodb.Query": 1,
      "s3.GetObject": 2,
    });
  });

  it("a sweep of a shard", async () => {
    within(await metered.measure(() => metered.store.sweep({ collection: "notes" })), {
      "dynamodb.GetItem": 3,
      "dynamodb.Query": 2,
      "s3.GetObject": 4, // collection, policy, pointer, manifest
    });
  });
});

describe("what users pay for what they ask for,", () => {
  /** Beyond what the compaction reads: bundles. */
  const compactOnce = async () => {
    const usage = await metered.measure(() => metered.store.compact("notes"));
    return usage.filter(({ operation }) => operation !== "GetObject");
  };

  it("10,000 single records in one burst: under $0.10 for requests and units", async ({
    annotate,
  }) => {
    const RUNS = 50;
    const writes = await metered.measure(async () => {
      for (const each of many(RUNS, "single")) await notes.put([each]);
    });
    const perPut = dollarsOf(writes) / RUNS;
    // A pass takes 1,000 runs and reads each bundle once.
    const perPass = dollarsOf(await compactOnce()) + 1_030 * dollarsOf([{ ...GET }]);
    const dollars = perPut * 10_000 + perPass * 10;
    await annotate(`$${dollars.toFixed(4)}: $${(perPut * 10_000).toFixed(4)} to write`);
    expect(dollars).toBeLessThan(0.1);
  });

  it("10,000 records in deltas of 1,000: under $0.002 for requests and units", async ({
    annotate,
  }) => {
    const usage = await metered.measure(async () => {
      await notes.put(many(1_000, "bulk"));
      await metered.store.compact("notes");
    });
    const dollars = dollarsOf(usage) * 10;
    await annotate(`$${dollars.toFixed(5)}, each delta compacted by itself`);
    expect(dollars).toBeLessThan(0.002);
  });
});

const GET: AwsUsage = {
  service: "s3",
  operation: "GetObject",
  requests: 1,
  bytesSent: 0,
  bytesReceived: 0,
  readUnits: 0,
  writeUnits: 0,
};
