/** A Query may miss an item of a transaction that a GetItem of another of its items shows already. */
import {
  type AttributeValue,
  DeleteItemCommand,
  GetItemCommand,
  PutItemCommand,
} from "@aws-sdk/client-dynamodb";
import { type AwsClients, createDynamoRunLog } from "@silt/aws";
import { registerRuns, shardPartition } from "@silt/core";
import { systemRandom } from "@silt/local";
import { createVirtualClock } from "@silt/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { dropTable, newTable, rootClients } from "../test-account.fixture.ts";
import { draftOf, LINES, logOf, NEW_HEAD, portsOf } from "./dynamo-log.fixture.ts";

const RUNS = 3;

let clients: AwsClients;
let table: string;
beforeEach(async () => {
  clients = rootClients();
  table = await newTable(clients);
  const log = logOf(clients, table);
  await log.createShard(LINES, NEW_HEAD);
  for (let run = 1; run <= RUNS; run++) await registerRuns(portsOf(log), [draftOf(LINES)]);
});
afterEach(async () => {
  await dropTable(clients, table);
  clients[Symbol.dispose]();
});

async function takeRun(sequence: number): Promise<Record<string, AttributeValue>> {
  const sk = `RUN#${String(sequence).padStart(16, "0")}`;
  const Key = { pk: { S: shardPartition(LINES) }, sk: { S: sk } };
  const { Item } = await clients.dynamo.send(new GetItemCommand({ TableName: table, Key }));
  await clients.dynamo.send(new DeleteItemCommand({ TableName: table, Key }));
  return Item as Record<string, AttributeValue>;
}

/** A log whose every pause is followed by `meanwhile`. */
function logThatPauses(meanwhile: () => Promise<void>) {
  const clock = {
    ...createVirtualClock({ sleeps: "skip" }),
    sleep: meanwhile,
  };
  return createDynamoRunLog({ client: clients.dynamo, table }, { clock, random: systemRandom });
}

it.each([1, 2, 3])("readRuns() waits for run %i, which HEAD shows already", async (sequence) => {
  const item = await takeRun(sequence);
  let pauses = 0;
  const log = logThatPauses(async () => {
    pauses += 1;
    await clients.dynamo.send(new PutItemCommand({ TableName: table, Item: item }));
  });
  const runs = await log.readRuns(LINES, { after: 0, limit: 10 });
  expect(runs.map((run) => run.sequence)).toEqual([1, 2, 3]);
  expect(pauses).toBe(1);
});

it("readRuns() gives what there is of a log that lacks a run for good, after a few looks", async () => {
  await takeRun(2);
  let pauses = 0;
  const log = logThatPauses(async () => {
    pauses += 1;
  });
  const runs = await log.readRuns(LINES, { after: 0, limit: 10 });
  expect(runs.map((run) => run.sequence)).toEqual([1, 3]);
  expect(pauses).toBeLessThan(10);
});

it("readRuns() of a page that is whole asks HEAD nothing", async () => {
  const log = logThatPauses(() => Promise.reject(new Error("a pause")));
  expect(await log.readRuns(LINES, { after: 0, limit: 2 })).toHaveLength(2);
  expect(await log.readRuns(LINES, { after: 2, limit: 2 })).toHaveLength(1);
});
