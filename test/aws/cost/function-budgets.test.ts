/**
 * What an invocation of a warm function may ask of AWS at most, counted by its own clients. A compaction
 * is in budgets.test.ts.
 */
import { readFileSync } from "node:fs";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { createS3SourceBucket, createSqsHintQueue, RUN_PREFIX } from "@silt/aws";
import { shardPartition } from "@silt/core";
import type { DynamoDBRecord } from "aws-lambda";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createDispatchHandler } from "../../../lambdas/dispatch.lambda.ts";
import { createIngestHandler } from "../../../lambdas/ingest.lambda.ts";
import { createQueryHandler } from "../../../lambdas/query.lambda.ts";
import { createSweepHandler } from "../../../lambdas/sweep.lambda.ts";
import { s3Body, sqsEvent, testContext, testWiring } from "../../../lambdas/wiring.fixture.ts";
import { pictureFolder } from "../../../packages/silt/src/ingest/pictures.fixture.ts";
import { createImageSources, createS3Source } from "../../../packages/silt/src/serverless.ts";
import { newBucket } from "../test-account.fixture.ts";
import {
  type Budget,
  type MeteredStore,
  meteredStore,
  sumOf,
  within,
  withoutHeartbeat,
} from "./metered-store.fixture.ts";

let metered: MeteredStore;
beforeEach(async () => {
  metered = await meteredStore();
});
afterEach(() => metered[Symbol.asyncDispose]());

/** Of two collections of one shard each, with nothing to do. */
const SWEEP: Budget = {
  "dynamodb.GetItem": 8,
  "dynamodb.Query": 4,
  "s3.GetObject": 8,
  "s3.HeadObject": 2,
  "s3.ListObjectsV2": 1, // however many collections there are
};
/** The sweep, and for each shard a plan in the place of the one before. */
const SWEEP_AND_COLLECT: Budget = {
  "dynamodb.GetItem": 22,
  "dynamodb.Query": 16,
  "s3.DeleteObject": 2,
  "s3.GetObject": 32,
  "s3.HeadObject": 4,
  "s3.ListObjectsV2": 5,
  "s3.PutObject": 2,
};

/** Collections of one shard each, compacted and at rest. */
async function idle(...names: readonly string[]): Promise<void> {
  const { store } = metered;
  for (const name of names) {
    const collection = await store.collection(name, { dimension: 2 });
    await withoutHeartbeat(store, name);
    await collection.put([{ id: "a", embedding: [1, 0], document: "two coffees" }]);
    await store.compact(name);
  }
}

/** Uploads a small picture for each seed, and gives what takes the event of one. */
async function uploads(...seeds: readonly number[]) {
  const { clients, store } = metered;
  using pictures = pictureFolder();
  const bucket = await newBucket(clients);
  const keyOf = (seed: number) => `${seed}.png`;
  for (const seed of seeds) {
    const Key = keyOf(seed);
    await pictures.paint(Key, seed);
    const Body = readFileSync(pictures.pathOf(Key));
    await clients.s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
  }
  const s3 = createS3Source(async (name) => createS3SourceBucket(clients.s3, name));
  const wiring = testWiring(store);
  const handle = createIngestHandler({ ...wiring, sources: createImageSources(s3) });
  return async (seed: number) => {
    const event = sqsEvent({ m1: s3Body(keyOf(seed), "ObjectCreated:Put", bucket) });
    expect(await handle(event, testContext())).toEqual({ batchItemFailures: [] });
    const told = wiring.lines.findLast(({ message }) => message === "uploads");
    expect(told?.fields).toMatchObject({ ingested: 1 });
  };
}

/** What the table's stream tells of so many runs, taken in turn by so many shards. */
function streamOf(runs: number, shards: number): DynamoDBRecord[] {
  return Array.from({ length: runs }, (_, n) => {
    const shard = `${n % shards}-of-${shards}`;
    const pk = shardPartition({ collection: "notes", storeId: "0123456789abcdef", shard });
    const Keys = { pk: { S: pk }, sk: { S: `${RUN_PREFIX}${n}` } };
    return { eventName: "INSERT", dynamodb: { Keys, SequenceNumber: `${n}` } };
  });
}

function dispatcher() {
  const { clients, queue } = metered;
  const { sendAll } = createSqsHintQueue({ client: clients.sqs, queue: { name: queue } });
  const handle = createDispatchHandler({ ...testWiring(metered.store), sendAll });
  return (Records: DynamoDBRecord[]) => handle({ Records }, testContext());
}

describe("a warm function asks AWS for no more than its budget:", () => {
  it("ingest, of one picture: eight write units", async () => {
    const take = await uploads(1, 2);
    await take(1);
    const usage = await metered.measure(() => take(2));
    within(usage, {
      "dynamodb.GetItem": 2, // guard, HEAD
      "dynamodb.TransactWriteItems": 1,
      "s3.GetObject": 2, // the picture, and what was put is read back
      "s3.HeadObject": 1, // the picture once more, after the commit
      "s3.PutObject": 1,
    });
    expect(sumOf(usage, "writeUnits")).toBe(8);
  });

  it.each([
    [1, 1],
    [10, 1],
    [11, 2],
  ])("dispatch, of 100 runs of %i shards: %i sent batches", async (shards, batches) => {
    const dispatch = dispatcher();
    await dispatch(streamOf(1, 1));
    const usage = await metered.measure(() => dispatch(streamOf(100, shards)));
    within(usage, { "sqs.SendMessageBatch": batches });
  });

  it.each([
    ["sweep, of two collections at rest", false, SWEEP],
    ["sweep with a round of the collector, of the same", true, SWEEP_AND_COLLECT],
  ])("%s", async (_, collect, budget) => {
    await idle("notes", "lines");
    const handle = createSweepHandler(testWiring(metered.store));
    const sweep = async () => {
      const answer = await handle({ collect }, testContext());
      const collected = collect ? 2 : 0;
      expect(answer).toMatchObject({ shards: 2, hinted: 0, deleted: 0, collected });
    };
    await sweep();
    within(await metered.measure(sweep), budget);
  });

  it("query", async () => {
    await idle("notes");
    const store = await metered.reopen();
    const handle = createQueryHandler(testWiring(store));
    const ask = async () => {
      const answer = await handle({ collection: "notes", vector: [1, 0] }, testContext());
      expect(answer).toMatchObject({ version: 1, results: [{ id: "a" }] });
    };
    await ask();
    within(await metered.measure(ask), {
      "dynamodb.GetItem": 2,
      "s3.GetObject": 3, // collection, policy, pointer
    });
  });
});
