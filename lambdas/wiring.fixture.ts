/** What the tests of the functions share: events as AWS sends them, a context, and what was logged. */
import type { HintQueue, LogLevel, Ports } from "@silt/core";
import type { Context, SQSEvent, SQSRecord } from "aws-lambda";
import type { Store } from "../packages/silt/src/serverless.ts";
import type { Env } from "./env.ts";
import type { Wiring } from "./wiring.ts";

export interface LoggedLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface TestWiring extends Pick<Wiring, "logger" | "metrics"> {
  readonly env: Omit<
    Env,
    | "store"
    | "location"
    | "collections"
    | "cacheFolder"
    | "cacheBytesMax"
    | "vectorBytesMax"
    | "isTraced"
  >;
  readonly store: () => Promise<Store>;
  readonly ports: () => Promise<Ports>;
  readonly lines: LoggedLine[];
  /** Values by the name of the metric, in the order in which they came. */
  readonly values: Map<string, number[]>;
}

export function testWiring(store: Store, env: Partial<Env> = {}): TestWiring {
  const lines: LoggedLine[] = [];
  const values = new Map<string, number[]>();
  const take = (name: string, value: number) =>
    void values.set(name, [...(values.get(name) ?? []), value]);
  return {
    env: {
      textEmbedder: undefined,
      imageEmbedder: undefined,
      pipeline: "image",
      marginMs: 0,
      diskBytes: undefined,
      ...env,
    },
    logger: { log: (level, message, fields = {}) => void lines.push({ level, message, fields }) },
    metrics: { count: take, gauge: take },
    store: async () => store,
    ports: async () => store.context.ports,
    lines,
    values,
  };
}

/** An invocation with so much time, by the clock or as told. */
export function testContext(
  remaining: number | (() => number) = 60_000,
  memoryLimitInMB = "1769",
): Context {
  const endsAt = performance.now() + (typeof remaining === "number" ? remaining : 0);
  return {
    callbackWaitsForEmptyEventLoop: false,
    functionName: "silt",
    functionVersion: "$LATEST",
    invokedFunctionArn: "arn:aws:lambda:us-east-1:000000000000:function:silt",
    memoryLimitInMB,
    awsRequestId: "3f0c1f0e-5d3e-4f47-9a3b-0d7f7f0c9f11",
    logGroupName: "silt",
    logStreamName: "silt",
    getRemainingTimeInMillis:
      typeof remaining === "number" ? () => endsAt - performance.now() : remaining,
    done: () => {},
    fail: () => {},
    succeed: () => {},
  };
}

/** A queue that keeps what is sent. */
export function recordingHints(): HintQueue & { readonly shards: string[] } {
  const shards: string[] = [];
  return { shards, send: async ({ shard }) => void shards.push(shard), receive: async () => [] };
}

/** Messages by their ids. */
export function sqsEvent(bodies: Readonly<Record<string, string>>): SQSEvent {
  return { Records: Object.entries(bodies).map(([id, body]) => sqsRecord(id, body)) };
}

function sqsRecord(messageId: string, body: string): SQSRecord {
  return {
    messageId,
    receiptHandle: "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
    body,
    attributes: {
      ApproximateReceiveCount: "1",
      SentTimestamp: "1796000000000",
      SenderId: "AIDAJDPLRKLG7UEXAMPLE",
      ApproximateFirstReceiveTimestamp: "1796000000001",
    },
    messageAttributes: {},
    md5OfBody: "e4e68fb7bd0e697a0ae8f1bb342846b3",
    eventSource: "aws:sqs",
    eventSourceARN: "arn:aws:sqs:us-east-1:000000000000:uploads",
    awsRegion: "us-east-1",
  };
}

/** The body that S3 sends; the key is encoded as S3 does it. */
export function s3Body(key: string, eventName = "ObjectCreated:Put", bucket = "uploads"): string {
  const encoded = key.split("/").map((part) => encodeURIComponent(part).replaceAll("%20", "+"));
  return JSON.stringify({
    Records: [
      {
        eventVersion: "2.1",
        eventSource: "aws:s3",
        awsRegion: "us-east-1",
        eventTime: "2026-11-28T21:00:00.000Z",
        eventName,
        userIdentity: { principalId: "AWS:AIDAINPONIXQXHT3IKHL2" },
        requestParameters: { sourceIPAddress: "205.255.255.255" },
        responseElements: {
          "x-amz-request-id": "D82B88E5F771F645",
          "x-amz-id-2":
            "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo=",
        },
        s3: {
          s3SchemaVersion: "1.0",
          configurationId: "828aa6fc-f7b5-4305-8584-487c791949c1",
          bucket: {
            name: bucket,
            ownerIdentity: { principalId: "A3I5XTEXAMAI3E" },
            arn: `arn:aws:s3:::${bucket}`,
          },
          object: {
            key: encoded.join("/"),
            size: 1024,
            eTag: "d41d8cd98f00b204e9800998ecf8427e",
            sequencer: "0C0F6F405D6ED209E1",
          },
        },
      },
    ],
  });
}

export const failedIds = (answer: {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}): readonly string[] => answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
