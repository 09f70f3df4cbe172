/** Pictures in S3, by the command and by the functions' own code, into a store on S3; Lambda itself is left out. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ScanCommand } from "@aws-sdk/client-dynamodb";
import {
  DeleteObjectCommand,
  PutBucketNotificationConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import {
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  type Message,
  ReceiveMessageCommand,
  SetQueueAttributesCommand,
} from "@aws-sdk/client-sqs";
import { type AwsClients, createS3SourceBucket, createSqsHintQueue } from "@silt/aws";
import type { DynamoDBRecord } from "aws-lambda";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCompactHandler } from "../../lambdas/compact.lambda.ts";
import { createDispatchHandler } from "../../lambdas/dispatch.lambda.ts";
import { createIngestHandler } from "../../lambdas/ingest.lambda.ts";
import { createQueryHandler } from "../../lambdas/query.lambda.ts";
import { createSweepHandler } from "../../lambdas/sweep.lambda.ts";
import {
  failedIds,
  sqsEvent,
  type TestWiring,
  testContext,
  testWiring,
} from "../../lambdas/wiring.fixture.ts";
import {
  idsOf,
  type PictureFolder,
  pictureFolder,
  recordsOf,
} from "../../packages/silt/src/ingest/pictures.fixture.ts";
import {
  createImageSources,
  createS3Source,
  openStore,
  type Store,
} from "../../packages/silt/src/serverless.ts";
import { newBucket, newQueue, newTable, rootClients } from "./test-account.fixture.ts";

/** Of waiting for S3 to tell the queue. */
const POLLS_MAX = 60;

let clients: AwsClients;
let uploads: string;
let hintQueue: string;
let table: string;
let store: Store;
let folder: string;
let pictures: PictureFolder;
beforeEach(async () => {
  clients = rootClients();
  uploads = await newBucket(clients);
  hintQueue = await newQueue(clients);
  table = await newTable(clients);
  folder = mkdtempSync(join(tmpdir(), "silt-ingest-s3-"));
  pictures = pictureFolder();
  const location = `s3://${await newBucket(clients)}/silt?table=${table}&queue=${hintQueue}`;
  store = await openStore(location, { cacheFolder: join(folder, "cache") });
});
afterEach(async () => {
  await store[Symbol.asyncDispose]();
  pictures[Symbol.dispose]();
  clients[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function upload(Key: string, seed: number, Metadata: Record<string, string> = {}) {
  await pictures.paint("painted.png", seed);
  const Body = readFileSync(pictures.pathOf("painted.png"));
  await clients.s3.send(new PutObjectCommand({ Bucket: uploads, Key, Body, Metadata }));
}

const remove = (Key: string) => clients.s3.send(new DeleteObjectCommand({ Bucket: uploads, Key }));

describe("silt ingest s3://", () => {
  const ingest = (options = {}) =>
    store.ingest([`s3://${uploads}/in`], { pipeline: "image", ...options });

  it("takes, skips, takes again and prunes objects, by raw keys and with their user metadata", async () => {
    await upload("in/a b+c%20é.png", 1, { shop: "Kino" });
    await upload("in/b.png", 2);
    await upload("in/c.png", 3);
    expect(await ingest({ dryRun: true })).toMatchObject({ total: 3, plan: [{}, {}, {}] });
    expect(await ingest({ workers: 2 })).toMatchObject({ ingested: 3, failed: 0 });
    const [first] = await recordsOf(store, "images");
    expect(first).toMatchObject({
      id: `s3://${uploads}/in/a b+c%20é.png#image`,
      metadata: { shop: "Kino" },
    });
    await upload("in/b.png", 2, { shop: "Velo" });
    await remove("in/c.png");
    expect(await ingest()).toMatchObject({ ingested: 1, skipped: 1, deleted: 0 });
    expect(await ingest({ prune: true })).toMatchObject({ skipped: 2, deleted: 1 });
    expect(await idsOf(store, "images")).toHaveLength(2);
    expect(await store.sourceStatus(`s3://${uploads}/in/c.png`)).toMatchObject({
      state: "deleted",
    });
    await expect(store.ingest([`s3://${uploads}-typo/in`])).rejects.toMatchObject({
      kind: "invalid",
    });
  });
});

describe("the functions on S3, DynamoDB and SQS", () => {
  let uploadQueue: string;
  let wiring: TestWiring;
  beforeEach(async () => {
    uploadQueue = await newQueue(clients);
    wiring = testWiring(store);
    const { QueueUrl } = await clients.sqs.send(new GetQueueUrlCommand({ QueueName: uploadQueue }));
    uploadQueue = QueueUrl ?? "";
    const { Attributes } = await clients.sqs.send(
      new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] }),
    );
    const Policy = JSON.stringify({
      Version: "2012-10-17",
      Statement: [
        {
          Effect: "Allow",
          Principal: { Service: "s3.amazonaws.com" },
          Action: "sqs:SendMessage",
          Resource: Attributes?.QueueArn,
        },
      ],
    });
    await clients.sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { Policy } }));
    const NotificationConfiguration = {
      QueueConfigurations: [
        {
          QueueArn: Attributes?.QueueArn,
          Events: ["s3:ObjectCreated:*" as const, "s3:ObjectRemoved:*" as const],
        },
      ],
    };
    await clients.s3.send(
      new PutBucketNotificationConfigurationCommand({ Bucket: uploads, NotificationConfiguration }),
    );
  });

  /** Takes what the queue has, until so many messages came. */
  async function messages(wanted: number): Promise<readonly Message[]> {
    const taken: Message[] = [];
    for (let poll = 0; taken.length < wanted && poll < POLLS_MAX; poll++) {
      const asked = { QueueUrl: uploadQueue, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 };
      const { Messages = [] } = await clients.sqs.send(new ReceiveMessageCommand(asked));
      taken.push(...Messages.filter(({ Body = "" }) => !Body.includes("s3:TestEvent")));
      if (Messages.length === 0) continue;
      const Entries = Messages.map(({ ReceiptHandle }, n) => ({ Id: String(n), ReceiptHandle }));
      await clients.sqs.send(new DeleteMessageBatchCommand({ QueueUrl: uploadQueue, Entries }));
    }
    expect(taken).toHaveLength(wanted);
    return taken;
  }

  async function ingest(wanted: number) {
    const bodies = (await messages(wanted)).map(({ Body = "" }, n) => [`m${n}`, Body] as const);
    const s3 = createS3Source(async (name) => createS3SourceBucket(clients.s3, name));
    const handle = createIngestHandler({ ...wiring, sources: createImageSources(s3) });
    return failedIds(await handle(sqsEvent(Object.fromEntries(bodies)), testContext()));
  }

  /** The table's items as its stream would tell of them. */
  async function streamRecords(): Promise<DynamoDBRecord[]> {
    const { Items = [] } = await clients.dynamo.send(new ScanCommand({ TableName: table }));
    return Items.map(({ pk, sk }, n) => ({
      eventName: "INSERT",
      dynamodb: {
        Keys: { pk: { S: pk?.S ?? "" }, sk: { S: sk?.S ?? "" } },
        SequenceNumber: `${n}`,
      },
    }));
  }

  async function dispatchAndCompact(): Promise<readonly string[]> {
    const queue = createSqsHintQueue({ client: clients.sqs, queue: { name: hintQueue } });
    await queue.receive(100);
    const dispatch = createDispatchHandler({ ...wiring, sendAll: queue.sendAll });
    const dispatched = await dispatch({ Records: await streamRecords() }, testContext());
    expect(dispatched.batchItemFailures).toEqual([]);
    const hints = await queue.receive(100);
    const bodies = hints.map((hint, n) => [`h${n}`, JSON.stringify(hint)] as const);
    const compact = createCompactHandler(wiring);
    await compact(sqsEvent(Object.fromEntries(bodies)), testContext());
    return hints.map(({ collection }) => collection);
  }

  it("bring an upload to an answer, and a removal to none", async () => {
    await clients.s3.send(
      new PutBucketVersioningCommand({
        Bucket: uploads,
        VersioningConfiguration: { Status: "Enabled" },
      }),
    );
    await upload("in/a b+c%20é.png", 1);
    await upload("in/b.png", 2);
    await upload("in/notes.txt", 3);
    expect(await ingest(3)).toEqual([]);
    expect(await dispatchAndCompact()).toEqual(["images"]);
    const image = readFileSync(await pathOfPicture(1)).toString("base64");
    const query = createQueryHandler(wiring);
    const ask = () => query({ collection: "images", image, k: 1 }, testContext());
    expect(await ask()).toMatchObject({
      version: 1,
      behind: 0,
      results: [{ id: `s3://${uploads}/in/a b+c%20é.png#image` }],
    });
    await remove("in/a b+c%20é.png");
    expect(await ingest(1)).toEqual([]);
    await dispatchAndCompact();
    expect(await ask()).toMatchObject({
      version: 2,
      results: [{ id: `s3://${uploads}/in/b.png#image` }],
    });
    expect(await createSweepHandler(wiring)({ collect: true }, testContext())).toMatchObject({
      collections: 1,
      shards: 1,
      hinted: 0,
      collected: 1,
    });
    expect(await store.verify()).toMatchObject({ ok: true });
  });

  async function pathOfPicture(seed: number): Promise<string> {
    await pictures.paint("asked.png", seed);
    return pictures.pathOf("asked.png");
  }
});
