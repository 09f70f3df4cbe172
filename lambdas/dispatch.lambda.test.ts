import { type Hint, SiltError } from "@silt/core";
import type { DynamoDBRecord } from "aws-lambda";
import { describe, expect, it } from "vitest";
import { createDispatchHandler } from "./dispatch.lambda.ts";
import { failedIds, testContext } from "./wiring.fixture.ts";

const STORE_ID = "0123456789abcdef";

function record(
  pk: string,
  sk: string,
  sequence: number,
  eventName: DynamoDBRecord["eventName"] = "INSERT",
): DynamoDBRecord {
  return {
    eventID: `event-${sequence}`,
    eventName,
    eventVersion: "1.1",
    eventSource: "aws:dynamodb",
    awsRegion: "us-east-1",
    dynamodb: {
      ApproximateCreationDateTime: 1_796_000_000,
      Keys: { pk: { S: pk }, sk: { S: sk } },
      NewImage: { pk: { S: pk }, sk: { S: sk } },
      SequenceNumber: String(sequence),
      SizeBytes: 26,
      StreamViewType: "NEW_IMAGE",
    },
    eventSourceARN: "arn:aws:dynamodb:us-east-1:000000000000:table/silt/stream/2026",
  };
}

const run = (shard: string, sequence: number) =>
  record(`lines/${STORE_ID}/${shard}`, `RUN#000000000000${sequence}`, sequence);

async function dispatch(Records: DynamoDBRecord[]) {
  const hints: Hint[] = [];
  const lines: string[] = [];
  const handle = createDispatchHandler({
    logger: { log: (level, message) => void lines.push(`${level} ${message}`) },
    sendAll: async (sent) => void hints.push(...sent),
  });
  const failed = failedIds(await handle({ Records }, testContext()));
  return { failed, shards: hints.map(({ shard }) => shard), hints, lines };
}

describe("the dispatch function", () => {
  it("F22 sends one hint for each shard of a batch", async () => {
    const records = [1, 2, 3, 4].map((n) => run(`${n % 2}-of-2`, n));
    const { failed, hints } = await dispatch(records);
    expect(failed).toEqual([]);
    expect(hints).toEqual(
      ["1-of-2", "0-of-2"].map((shard) => ({ collection: "lines", storeId: STORE_ID, shard })),
    );
  });

  it("sends nothing for other items and changes", async () => {
    const pk = `lines/${STORE_ID}/0-of-1`;
    const records = [
      record(pk, "HEAD", 1, "MODIFY"),
      record(pk, "RUNID#0190", 2),
      record(pk, "RUN#0000000000000001", 3, "REMOVE"),
      record("SOURCE#s3://uploads/a.png#images", "GUARD", 4),
    ];
    expect(await dispatch(records)).toMatchObject({ failed: [], hints: [] });
  });

  it("F20 a record that can't be read is reported by its number, and the others are sent", async () => {
    const poison = record("lines/elsewhere", "RUN#0000000000000002", 2);
    const empty = { ...run("0-of-3", 4), dynamodb: { SequenceNumber: "4" } };
    const records = [run("0-of-3", 1), poison, run("2-of-3", 3), empty];
    const { failed, shards, lines } = await dispatch(records);
    expect(failed).toEqual(["2", "4"]);
    expect(shards).toEqual(["0-of-3", "2-of-3"]);
    expect(lines.filter((line) => line.startsWith("error"))).toHaveLength(2);
  });

  it("throws when the queue takes no hints, so that the batch comes again", async () => {
    const down = new SiltError("unavailable", "Cannot send hints");
    const handle = createDispatchHandler({
      logger: { log: () => {} },
      sendAll: () => Promise.reject(down),
    });
    await expect(handle({ Records: [run("0-of-1", 1)] }, testContext())).rejects.toBe(down);
  });
});
