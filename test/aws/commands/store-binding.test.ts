/** Bucket and table that belong together, and pairs that do not. */
import { DeleteItemCommand, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { DeleteObjectCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import type { AwsClients } from "@silt/aws";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../../packages/silt/src/index.ts";
import { newBucket, newTable, rootClients } from "../test-account.fixture.ts";

const STORE_KEY = { pk: { S: "STORE" }, sk: { S: "STORE" } };
const OPENERS = 10;

let clients: AwsClients;
let bucket: string;
let table: string;
beforeAll(() => {
  clients = rootClients();
});
afterAll(() => clients[Symbol.dispose]());
beforeEach(async () => {
  bucket = await newBucket(clients);
  table = await newTable(clients);
});

const locationOf = (prefix: string, name = table) => `s3://${bucket}/${prefix}?table=${name}`;

async function open(location: string, create = true): Promise<void> {
  await using _ = await openStore(location, { create });
}

async function withCollection(location: string): Promise<void> {
  await using store = await openStore(location);
  await store.collection("notes", { dimension: 2 });
}

const removeMarker = (prefix = "notes/") =>
  clients.s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: `${prefix}silt-store.json` }));
const removeItem = () =>
  clients.dynamo.send(new DeleteItemCommand({ TableName: table, Key: STORE_KEY }));

/**
 * Lets `make` work after the opener's first look at what is `missing`, which does not see it, and for
 * the marker before its first look at the log, which does.
 */
function makeItMeanwhile(
  { s3, dynamo }: AwsClients,
  missing: "marker" | "log",
  make: () => Promise<void>,
): void {
  const looked = Promise.withResolvers<void>();
  s3.middlewareStack.add((next) => async (request) => {
    try {
      return await next(request);
    } finally {
      looked.resolve();
    }
  });
  let made: Promise<void> | undefined;
  dynamo.middlewareStack.add((next) => async (request) => {
    if (made !== undefined) return next(request);
    made = looked.promise.then(make);
    if (missing === "marker") await made;
    const answer = await next(request);
    await made;
    return answer;
  });
}

describe("F52 a store on AWS", () => {
  it(`is made once by ${OPENERS} who open it at the same moment`, async () => {
    const location = locationOf("notes");
    await Promise.all(Array.from({ length: OPENERS }, () => open(location)));
    const { Item } = await clients.dynamo.send(
      new GetItemCommand({ TableName: table, Key: STORE_KEY }),
    );
    expect(Item).toMatchObject({ bucket: { S: bucket }, prefix: { S: "notes/" } });
    await open(location, false);
  });

  it("gives a table to one of two stores that want it at the same moment", async () => {
    const outcomes = await Promise.allSettled(
      ["left", "right"].map((prefix) => open(locationOf(prefix))),
    );
    const failed = outcomes.filter(({ status }) => status === "rejected");
    expect(failed).toMatchObject([{ reason: { kind: "invalid" } }]);
    expect(String((failed[0] as PromiseRejectedResult).reason)).toMatch(/each store has a table/);
  });

  it("is refused with another table, and with the table of another prefix", async () => {
    await open(locationOf("notes"));
    const other = await newTable(clients);
    await expect(open(locationOf("notes", other))).rejects.toMatchObject({ kind: "invalid" });
    await expect(open(locationOf("else"))).rejects.toMatchObject({ kind: "invalid" });
    // Nothing was written on the way.
    const { Contents = [] } = await clients.s3.send(new ListObjectsV2Command({ Bucket: bucket }));
    expect(Contents.map(({ Key }) => Key)).toEqual(["notes/silt-store.json"]);
  });

  it("whose marker was lost is damaged, with collections and without", async () => {
    await open(locationOf("notes"));
    await removeMarker();
    await expect(open(locationOf("notes"))).rejects.toMatchObject({ kind: "corrupt" });
    const other = await newTable(clients);
    await withCollection(locationOf("full", other));
    await removeMarker("full/");
    await expect(open(locationOf("full", other))).rejects.toMatchObject({ kind: "corrupt" });
  });

  it("whose log was lost is damaged, and never begun anew", async () => {
    await withCollection(locationOf("notes"));
    await removeItem();
    for (const create of [true, false]) {
      await expect(open(locationOf("notes"), create)).rejects.toMatchObject({ kind: "corrupt" });
    }
    const { Item } = await clients.dynamo.send(
      new GetItemCommand({ TableName: table, Key: STORE_KEY }),
    );
    expect(Item).toBeUndefined();
  });

  it("that lost both marker and binding is damaged while its collections lie there", async () => {
    await withCollection(locationOf("notes"));
    await removeItem();
    await removeMarker();
    await expect(open(locationOf("notes"))).rejects.toMatchObject({ kind: "corrupt" });
  });

  it("whose creation was cut off after the marker is made whole by the next who opens it", async () => {
    await open(locationOf("notes"));
    await removeItem();
    await expect(open(locationOf("notes"), false)).rejects.toMatchObject({ kind: "invalid" });
    await open(locationOf("notes"));
    await open(locationOf("notes"), false);
  });

  it.each(["marker", "log"] as const)(
    "that is made while somebody opens it, who saw that it had no %s yet, is sound",
    async (missing) => {
      const location = locationOf("notes");
      await using store = await openStore(location, {
        create: false,
        instrument: (seen) => makeItMeanwhile(seen, missing, () => withCollection(location)),
      });
      expect(await store.collections()).toEqual(["notes"]);
    },
  );

  it("is not made by whoever only reads", async () => {
    await expect(open(locationOf("notes"), false)).rejects.toMatchObject({ kind: "invalid" });
    const { KeyCount } = await clients.s3.send(new ListObjectsV2Command({ Bucket: bucket }));
    expect(KeyCount ?? 0).toBe(0);
  });
});
