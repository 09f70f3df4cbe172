/** Registered runs, by way of the table's stream, become hints: one for each shard of a batch. */
import {
  createAwsClients,
  createSqsHintQueue,
  formatHint,
  parseHint,
  RUN_PREFIX,
  shardOfPartition,
} from "@silt/aws";
import { type Hint, SiltError, shardPartition } from "@silt/core";
import type { DynamoDBBatchResponse, DynamoDBRecord, DynamoDBStreamEvent } from "aws-lambda";
import { type Handle, lambda, type Wiring } from "./wiring.ts";

export interface DispatchWiring extends Pick<Wiring, "logger"> {
  readonly sendAll: (hints: readonly Hint[]) => Promise<void>;
}

type Read = { readonly read: "hint"; readonly hint: Hint } | { readonly read: "other" | "poison" };

/**
 * Sends a hint for every shard that can be read, also of records after one that can't: that one is
 * reported, so that the event source cuts it out, tries it again and gives it up (F20). Throws when
 * the queue takes no hints: then the whole batch comes again.
 */
export function createDispatchHandler({
  logger,
  sendAll,
}: DispatchWiring): Handle<DynamoDBStreamEvent, DynamoDBBatchResponse> {
  return async ({ Records }) => {
    const hints = new Map<string, Hint>();
    const failed: string[] = [];
    for (const record of Records) {
      const read = readRecord(record);
      if (read.read === "hint") hints.set(shardPartition(read.hint), read.hint);
      if (read.read !== "poison") continue;
      const sequenceNumber = record.dynamodb?.SequenceNumber ?? "";
      logger.log("error", "stream record names no shard", {
        sequenceNumber,
        keys: record.dynamodb?.Keys,
      });
      failed.push(sequenceNumber);
    }
    if (hints.size > 0) await sendAll([...hints.values()]);
    logger.log("info", "runs", { records: Records.length, hints: hints.size });
    return { batchItemFailures: failed.map((itemIdentifier) => ({ itemIdentifier })) };
  };
}

/** The filter of the event source lets nothing else through; it is checked all the same. */
function readRecord({ eventName, dynamodb }: DynamoDBRecord): Read {
  const { pk, sk } = dynamodb?.Keys ?? {};
  if (pk?.S === undefined || sk?.S === undefined) return { read: "poison" };
  if (eventName !== "INSERT" || !sk.S.startsWith(RUN_PREFIX)) return { read: "other" };
  const shard = shardOfPartition(pk.S);
  // As the compactor will read it.
  const hint = shard && parseHint(formatHint(shard));
  return hint === undefined ? { read: "poison" } : { read: "hint", hint };
}

export const handler = lambda<DynamoDBStreamEvent, DynamoDBBatchResponse>((wiring) => {
  const { location } = wiring.env;
  if (location.kind !== "aws" || location.queue === undefined) {
    throw new SiltError(
      "invalid",
      'Cannot dispatch: SILT_STORE names no queue, expected "s3://bucket/prefix?table=NAME&queue=NAME"',
    );
  }
  const clients = createAwsClients();
  wiring.instrument(clients);
  const queue = createSqsHintQueue({ client: clients.sqs, queue: { name: location.queue } });
  return createDispatchHandler({ ...wiring, sendAll: queue.sendAll });
});
