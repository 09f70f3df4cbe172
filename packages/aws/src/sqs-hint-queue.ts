/**
 * Hints on a standard SQS queue. A hint carries no data, so nothing here is exact: what is sent twice,
 * or deleted too late and received again, makes a compactor look at a shard once more.
 */
import {
  DeleteMessageBatchCommand,
  GetQueueUrlCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  type SQSClient,
} from "@aws-sdk/client-sqs";
import { type Hint, type HintQueue, SiltError, shardPartition } from "@silt/core";
import { callAws } from "./aws-error.ts";
import { formatHint, parseHint } from "./sqs-hint.ts";

/** SQS takes and gives no more messages at once. */
const BATCH_MAX = 10;
/** Tries of a hint that SQS refused within a batch that it took; the SDK repeats whole requests. */
const SENDS_MAX = 3;
/** Requests of one `receive()`. */
const RECEIVES_MAX = 100;

export interface SqsHintQueueOptions {
  readonly client: SQSClient;
  /** A standard queue; a name is looked up in the region and account of the credentials. */
  readonly queue: { readonly name: string } | { readonly url: string };
}

export interface SqsHintQueue extends HintQueue {
  /** Sends distinct hints in batches; throws `unavailable` when some could not be sent. */
  sendAll(hints: readonly Hint[]): Promise<void>;
}

/** For stores whose location names no queue: there the table's stream tells the compactor. */
export const noHintQueue: HintQueue = {
  async send() {},
  async receive() {
    return [];
  },
};

/** A HintQueue on an existing queue; throws `invalid` for a FIFO queue. */
export function createSqsHintQueue({ client, queue }: SqsHintQueueOptions): SqsHintQueue {
  const name = "name" in queue ? queue.name : queue.url;
  if (name.endsWith(".fifo")) {
    throw new SiltError(
      "invalid",
      `Cannot use "${name}" for hints: it is a FIFO queue, expected a standard one`,
    );
  }
  const url = "url" in queue ? async () => queue.url : lookUpOnce(client, name);
  return {
    async send(hint) {
      const MessageBody = formatHint(hint);
      await callAws("send a hint to", name, async () =>
        client.send(new SendMessageCommand({ QueueUrl: await url(), MessageBody })),
      );
    },
    async sendAll(hints) {
      const distinct = [...new Map(hints.map((hint) => [shardPartition(hint), hint])).values()];
      for (let at = 0; at < distinct.length; at += BATCH_MAX) {
        await sendBatch(client, name, await url(), distinct.slice(at, at + BATCH_MAX));
      }
    },
    receive: (limit) =>
      callAws("receive hints from", name, async () => receive(client, await url(), limit)),
  };
}

/** Asks for the URL of a queue when it is first needed, and again only after a failure. */
function lookUpOnce(client: SQSClient, name: string): () => Promise<string> {
  let known: string | undefined;
  return async () => {
    if (known !== undefined) return known;
    const { QueueUrl } = await callAws("find the queue", name, () =>
      client.send(new GetQueueUrlCommand({ QueueName: name })),
    );
    if (QueueUrl === undefined) {
      throw new SiltError(
        "unavailable",
        `Cannot find the queue "${name}": the answer has no URL, expected one; try again`,
      );
    }
    known = QueueUrl;
    return known;
  };
}

async function sendBatch(
  client: SQSClient,
  name: string,
  QueueUrl: string,
  hints: readonly Hint[],
): Promise<void> {
  let entries = hints.map((hint, index) => ({ Id: String(index), MessageBody: formatHint(hint) }));
  for (let sends = 1; ; sends++) {
    const batch = new SendMessageBatchCommand({ QueueUrl, Entries: entries });
    const { Failed = [] } = await callAws("send hints to", name, () => client.send(batch));
    if (Failed.length === 0) return;
    if (sends === SENDS_MAX || Failed.some(({ SenderFault }) => SenderFault)) {
      const why = Failed.map(({ Code, Message }) => `${Code}: ${Message}`)[0];
      throw new SiltError(
        "unavailable",
        `Cannot send hints to "${name}": ${Failed.length} of ${hints.length} were refused (${why}), expected none; try again`,
      );
    }
    const failed = new Set(Failed.map(({ Id }) => Id));
    entries = entries.filter(({ Id }) => failed.has(Id));
  }
}

/**
 * Takes hints until there are `limit` distinct ones or the queue says that it is empty. What is no
 * hint is left on the queue: its redrive policy brings it to where an operator looks.
 */
async function receive(
  client: SQSClient,
  QueueUrl: string,
  limit: number,
): Promise<readonly Hint[]> {
  const taken = new Map<string, Hint>();
  for (let requests = 0; requests < RECEIVES_MAX && taken.size < limit; requests++) {
    const MaxNumberOfMessages = Math.min(limit - taken.size, BATCH_MAX);
    const receiving = new ReceiveMessageCommand({
      QueueUrl,
      MaxNumberOfMessages,
      WaitTimeSeconds: 0,
    });
    const { Messages = [] } = await client.send(receiving);
    if (Messages.length === 0) break;
    const understood: Message[] = [];
    for (const message of Messages) {
      const hint = parseHint(message.Body ?? "");
      if (hint === undefined) continue;
      taken.set(shardPartition(hint), hint);
      understood.push(message);
    }
    await deleteAll(client, QueueUrl, understood);
  }
  return [...taken.values()];
}

/** A message that SQS fails to delete comes again, as any hint may. */
async function deleteAll(
  client: SQSClient,
  QueueUrl: string,
  messages: readonly Message[],
): Promise<void> {
  if (messages.length === 0) return;
  const Entries = messages.map(({ ReceiptHandle }, index) => ({
    Id: String(index),
    ReceiptHandle,
  }));
  await client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
}
