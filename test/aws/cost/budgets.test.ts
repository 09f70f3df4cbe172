/**
 * What each step may ask of AWS at most, counted by the ports. docs/COST.md says what that costs. A step
 * that needs one request more is red here before it is on a bill.
 */
import type { AwsUsage } from "@silt/aws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Collection } from "../../../packages/silt/src/collection.ts";
import { type MeteredStore, meteredStore, requestsOf } from "./metered-store.fixture.ts";
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
  // No heartbeat on a busy machine: each is a request, by time and not by work.
  await metered.store.setPolicy("notes", (policy) => ({
    ...policy,
    lease: { ...policy.lease, ttlMs: 3_600_000, heartbeatMs: 1_200_000 },
  }));
});
afterAll(() => metered[Symbol.asyncDispose]());

type Budget = Readonly<Record<string, number>>;
const PUT: Budget = {
  "dynamodb.GetItem": 1, // HEAD
  "dynamodb.TransactWriteItems": 1,
  "s3.GetObject": 1, // what was put is read back
  "s3.PutObject": 1,
};
/** Besides one GetObject for each bundle, and for each segment that is merged. */
const COMPACT: Budget = {
  "dynamodb.GetItem": 8,
  "dynamodb.PutItem": 2,
  "dynamodb.Query": 1,
  "dynamodb.UpdateItem": 1,
  "s3.GetObject": 9,
  "s3.PutObject": 3, // segment, manifest, pointer
};

function within(usage: readonly AwsUsage[], budget: Budget): void {
  const asked = requestsOf(usage);
  const over = Object.entries(asked).filter(([name, requests]) => requests > (budget[name] ?? 0));
  expect(over, JSON.stringify(asked)).toEqual([]);
}

const sum = (usage: readonly AwsUsage[], unit: "readUnits" | "writeUnits") =>
  usage.reduce((total, call) => total + call[unit], 0);

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
    expect(sum(usage, "writeUnits")).toBe(6);
    expect(sum(usage, "readUnits")).toBe(1);
  });

  it("a compaction of two runs into nothing", async () => {
    const usage = await metered.measure(() => metered.store.compact("notes"));
    within(usage, { ...COMPACT, "s3.GetObject": 11 });
    expect(sum(usage, "writeUnits")).toBeLessThanOrEqual(4);
  });

  it("a compaction of 20 runs: one read more for each, and nothing else", async () => {
    for (const each of many(20, "more")) await notes.put([each]);
    const usage = await metered.measure(() => metered.store.compact("notes"));
    within(usage, { ...COMPACT, "s3.GetObject": 9 + 20 + 1 });
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
      "dynamodb.GetItem": 3,
      "dynamodb.Query": 1,
      "s3.GetObject": 2,
    });
  });

  it("a sweep of a shard", async () => {
    within(await metered.measure(() => metered.store.sweep({ collection: "notes" })), {
      "dynamodb.GetItem": 4,
      "dynamodb.Query": 2,
      "s3.GetObject": 4,
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
