import {
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  SendMessageCommand,
} from "@aws-sdk/client-sqs";
import {
  type AwsClients,
  createAwsClients,
  createSqsHintQueue,
  noHintQueue,
  parseHint,
} from "@silt/aws";
import type { Hint } from "@silt/core";
import { hintQueueContract } from "@silt/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { firstTimes, type SeenRequest, startFaultyProxy } from "../faulty-proxy.fixture.ts";
import { ENDPOINT, newQueue, REGION, ROOT, rootClients } from "../test-account.fixture.ts";

const hintOf = (shard: number): Hint => ({
  collection: "lines",
  storeId: "store0000001",
  shard: `${shard}-of-64`,
});

hintQueueContract("SQS", async () => {
  const clients = rootClients();
  const name = await newQueue(clients);
  const hints = createSqsHintQueue({ client: clients.sqs, queue: { name } });
  return { hints, dispose: async () => clients[Symbol.dispose]() };
});

describe("createSqsHintQueue", () => {
  let clients: AwsClients;
  let name: string;
  beforeAll(() => {
    clients = rootClients();
  });
  afterAll(() => clients[Symbol.dispose]());
  beforeEach(async () => {
    name = await newQueue(clients);
  });
  const open = (queueName = name) =>
    createSqsHintQueue({ client: clients.sqs, queue: { name: queueName } });
  const urlOf = async (QueueName: string) => {
    const { QueueUrl } = await clients.sqs.send(new GetQueueUrlCommand({ QueueName }));
    if (QueueUrl === undefined) throw new Error(`expected the URL of ${QueueName}`);
    return QueueUrl;
  };

  /** Those too that somebody has received and not deleted. */
  const messagesIn = async (QueueUrl: string) => {
    const counted = [
      "ApproximateNumberOfMessages",
      "ApproximateNumberOfMessagesNotVisible",
    ] as const;
    const asked = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: [...counted] });
    const { Attributes } = await clients.sqs.send(asked);
    return counted.reduce((sum, name) => sum + Number(Attributes?.[name]), 0);
  };

  it("sendAll() sends each of many hints once", async () => {
    const sent = Array.from({ length: 33 }, (_, shard) => hintOf(shard));
    await open().sendAll([...sent, ...sent]);
    const received = await open().receive(100);
    expect(received).toHaveLength(33);
    expect(received).toEqual(expect.arrayContaining(sent));
    expect(await open().receive(100)).toEqual([]);
  });

  it("F42 names its queue once, and sends hints in batches", async () => {
    const asked: string[] = [];
    clients.sqs.middlewareStack.add(
      (next, context) => (args) => {
        asked.push(context.commandName ?? "");
        return next(args);
      },
      { step: "initialize", name: "countRequests" },
    );
    const hints = open();
    await hints.send(hintOf(1));
    await hints.send(hintOf(2));
    await hints.sendAll(Array.from({ length: 25 }, (_, shard) => hintOf(shard)));
    clients.sqs.middlewareStack.remove("countRequests");
    expect(asked).toEqual([
      "GetQueueUrlCommand",
      ...Array.from({ length: 2 }, () => "SendMessageCommand"),
      ...Array.from({ length: 3 }, () => "SendMessageBatchCommand"),
    ]);
  });

  /** SQS took the batch, but not its last `count` entries. */
  const refuseLast = (count: number, SenderFault: boolean) => ({
    kind: "rewrite-answer" as const,
    rewrite: (body: string) => {
      const { Successful } = JSON.parse(body) as { Successful: { Id: string }[] };
      const Failed = Successful.slice(-count).map(({ Id }) => ({
        Id,
        SenderFault,
        Code: "InternalError",
      }));
      return JSON.stringify({ Successful: Successful.slice(0, -count), Failed });
    },
  });
  const isBatch = ({ headers }: SeenRequest) =>
    String(headers["x-amz-target"]).endsWith("SendMessageBatch");

  it("sendAll() sends again what was refused of a batch, and is unavailable when it stays so", async () => {
    await using proxy = await startFaultyProxy(ENDPOINT);
    const { endpoint } = proxy;
    using proxied = createAwsClients({ endpoint, region: REGION, credentials: ROOT });
    const hints = createSqsHintQueue({ client: proxied.sqs, queue: { name } });
    const sent = Array.from({ length: 7 }, (_, shard) => hintOf(shard));
    const batches = () => proxy.seen.filter(isBatch);
    proxy.onRequest(firstTimes(1, isBatch, refuseLast(2, false)));
    await hints.sendAll(sent);
    expect(batches()).toHaveLength(2);
    expect(await open().receive(100)).toHaveLength(7);

    proxy.clear();
    proxy.onRequest((request) => (isBatch(request) ? refuseLast(1, false) : undefined));
    const refused = { name: "SiltError", kind: "unavailable" };
    await expect(hints.sendAll(sent)).rejects.toMatchObject(refused);
    expect(batches()).toHaveLength(3);

    proxy.clear();
    proxy.onRequest((request) => (isBatch(request) ? refuseLast(1, true) : undefined));
    await expect(hints.sendAll(sent)).rejects.toMatchObject(refused);
    expect(batches()).toHaveLength(1);
  });

  it("works with a queue that is known by its URL", async () => {
    const url = await urlOf(name);
    await createSqsHintQueue({ client: clients.sqs, queue: { url } }).send(hintOf(3));
    expect(await open().receive(10)).toEqual([hintOf(3)]);
  });

  it("receive() takes hints from among foreign messages, and leaves those", async () => {
    const QueueUrl = await urlOf(name);
    await clients.sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "hello" }));
    await open().send(hintOf(1));
    await clients.sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "{}" }));
    expect(await messagesIn(QueueUrl)).toBe(3);
    expect(await open().receive(10)).toEqual([hintOf(1)]);
    expect(await messagesIn(QueueUrl)).toBe(2);
  });

  it("receive() deletes what it took, repeated hints too: they don't come back in time", async () => {
    const QueueUrl = await urlOf(name);
    for (const shard of [1, 2, 1, 1]) await open().send(hintOf(shard));
    expect(await open().receive(10)).toHaveLength(2);
    expect(await messagesIn(QueueUrl)).toBe(0);
  });

  it("a queue that is not there is a mistake of the operator, found when it is first used", async () => {
    const typo = open(`${name}-typo`);
    for (const use of [() => typo.send(hintOf(1)), () => typo.receive(1)]) {
      await expect(use()).rejects.toMatchObject({
        name: "SiltError",
        kind: "invalid",
        message: expect.stringContaining("the queue is not there"),
      });
    }
  });

  it("refuses a FIFO queue, on which one shard would wait for another", () => {
    expect(() => open("hints.fifo")).toThrow(/FIFO/);
  });

  it("without a queue hints go nowhere", async () => {
    await noHintQueue.send(hintOf(1));
    expect(await noHintQueue.receive(10)).toEqual([]);
  });
});

describe("parseHint", () => {
  it("takes what was sent, and nothing else", () => {
    expect(parseHint(JSON.stringify(hintOf(1)))).toEqual(hintOf(1));
    expect(parseHint(JSON.stringify({ ...hintOf(1), later: 1 }))).toEqual(hintOf(1));
    for (const foreign of [
      "",
      "hello",
      "null",
      "[]",
      "7",
      '{"Records":[]}',
      JSON.stringify({ ...hintOf(1), shard: 1 }),
      JSON.stringify({ ...hintOf(1), shard: "../1" }),
      JSON.stringify({ ...hintOf(1), collection: "../lines" }),
      JSON.stringify({ ...hintOf(1), storeId: undefined }),
    ]) {
      expect(parseHint(foreign), foreign).toBeUndefined();
    }
  });
});
