/**
 * Pictures through the deployed stack, IAM enforced: the tests only upload, delete and ask; what happens
 * in between, bucket, queues, stream and functions do by themselves.
 */
import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { SendMessageCommand } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { s3Body } from "../../../lambdas/wiring.fixture.ts";
import type { Collection } from "../../../packages/silt/src/index.ts";
import { type DeployedStack, deployTestStack, waitUntil } from "./deployed-stack.fixture.ts";
import { askUrl, newCaller } from "./query-url.fixture.ts";
import { withEventSourceOff } from "./stack-faults.fixture.ts";
import {
  brokenPicture,
  exampleBytes,
  exampleMetadata,
  hugePicture,
  tinyPicture,
} from "./test-pictures.fixture.ts";

const RECEIPT = "receipt-kino-cafe.png";
const EXAMPLES = [
  RECEIPT,
  "receipt-blue-door-bakery.png",
  "page-opening-hours.png",
  "page-timetable.png",
  "photo-alps.jpg",
  "photo-boats.jpg",
  "photo-canyon.jpg",
  "photo-farmhouse.jpg",
  "photo-lily-leek.jpg",
  "photo-aeroplane.jpg",
];

const TINY = 2;

/** Times depend on the machine: they are told, not judged. */
const tell = (line: string) => void process.stderr.write(`${line}\n`);

let stack: DeployedStack;
beforeAll(async () => {
  stack = await deployTestStack("SiltUploads");
});
afterAll(() => stack?.[Symbol.asyncDispose]());

const collection = async (name: string): Promise<Collection> =>
  (await stack.store()).collection(name);

async function recordsOf(name: string, parent: string) {
  const { records } = await (await collection(name)).get({ parent });
  return records;
}

/** Sequence numbers of all shards of a collection. */
async function sequences(name: string): Promise<readonly number[]> {
  const [status] = await (await stack.store()).status(name);
  return (status?.shards ?? []).map(({ head }) => head);
}

async function expectSound(): Promise<void> {
  const { exitCode, json, stderr } = await stack.silt("verify");
  expect({ exitCode, problems: json?.problems, stderr }).toEqual({
    exitCode: 0,
    problems: [],
    stderr: expect.any(String),
  });
}

describe("an upload", () => {
  it("of 12 pictures is searchable within seconds, compacted, verified, and answered by query", async () => {
    const start = performance.now();
    const since = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
    const uploads = EXAMPLES.map((name) =>
      stack.upload(name, exampleBytes(name), exampleMetadata(name)),
    );
    for (let number = 0; number < TINY; number++) {
      uploads.push(stack.upload(`tiny/${number}.png`, await tinyPicture(number)));
    }
    const sources = await Promise.all(uploads);
    expect(sources).toHaveLength(12);

    const fresh = await waitUntil("a fresh search answers", async () => {
      const store = await stack.store();
      if (!(await store.collections()).includes("lines")) return undefined;
      const lines = await store.collection("lines");
      const { results } = await lines.query({ text: "two coffees", k: 1, fresh: true });
      return results[0]?.parent === sources[0] && results[0];
    });
    const freshAfter = since();
    await stack.untilAll(sources, "applied");
    tell(`upload of 12 -> first fresh answer ${freshAfter}, all compacted ${since()}`);
    expect(fresh.metadata).toMatchObject({ shop: "Kino" });

    const request = { collection: "lines", text: "two coffees", k: 3 };
    const answer = await stack.invoke("query", request);
    expect(answer.results[0].parent).toBe(sources[0]);
    const images = await stack.invoke("query", {
      op: "get",
      collection: "images",
      limit: 100,
    });
    const parents = images.records.map(({ parent }: { parent: string }) => parent);
    expect(parents.toSorted()).toEqual(sources.toSorted());
    expect(await askUrl(stack, request, await newCaller(stack, { mayAsk: true }))).toMatchObject({
      status: 200,
      json: { results: answer.results },
    });

    await expectSound();
    expect(await stack.deadLetters()).toEqual({});
  });

  it("is answered over the URL only to callers whom IAM lets in", async () => {
    const request = { collection: "images", op: "get" };
    expect((await askUrl(stack, request)).status).toBe(403);
    const stranger = await newCaller(stack, { mayAsk: false });
    expect((await askUrl(stack, request, stranger)).status).toBe(403);
    const friend = await newCaller(stack, { mayAsk: true });
    const forged = { ...friend, secret: `${friend.secret}x` };
    expect((await askUrl(stack, request, forged)).status).toBe(403);
    expect((await askUrl(stack, request, friend)).status).toBe(200);
  });
});

describe("a picture", () => {
  it("that comes again as it was is not ingested again", async () => {
    const before = await sequences("images");
    const logged = Date.now();
    const source = await stack.upload(RECEIPT, exampleBytes(RECEIPT), exampleMetadata(RECEIPT));
    await stack.untilLogged("ingest", logged, ({ unchanged }) => unchanged === 1);
    await stack.untilDrained("Uploads");
    expect(await sequences("images")).toEqual(before);
    expect((await stack.untilSource(source, "applied")).source).toBe(source);
  });

  it("that is changed loses its old records, deleted all of them, and has them again when put back", async () => {
    const source = await stack.upload("a b+c/für.png", exampleBytes("page-timetable.png"));
    const { digest } = await stack.untilSource(source, "applied");
    const old = await recordsOf("words", source);
    expect(old.length).toBeGreaterThan(5);

    await stack.upload("a b+c/für.png", exampleBytes("page-opening-hours.png"));
    await waitUntil("it is changed", async () => {
      const status = await (await stack.store()).sourceStatus(source);
      return status.state === "applied" && status.digest !== digest;
    });
    const other = (await recordsOf("words", source)).map(({ document }) => document);
    expect(other).not.toEqual(old.map(({ document }) => document));
    expect(other.length).toBeGreaterThan(5);

    await stack.deleteUpload("a b+c/für.png");
    await stack.untilSource(source, "deleted");
    await waitUntil("its records are gone", async () => {
      const names = ["lines", "words", "images"];
      const left = await Promise.all(names.map((name) => recordsOf(name, source)));
      return left.flat().length === 0;
    });

    await stack.upload("a b+c/für.png", exampleBytes("page-timetable.png"));
    await stack.untilSource(source, "applied");
    expect(await recordsOf("words", source)).toEqual(old);
  });

  it("F16 is what the bucket holds, whatever events are repeated or come late", async () => {
    const bucket = stack.outputs.UploadsBucket;
    const send = (key: string, event?: string) =>
      stack.clients.sqs.send(
        new SendMessageCommand({
          QueueUrl: stack.queueUrl("Uploads"),
          MessageBody: s3Body(key, event, bucket),
        }),
      );
    const kept = await stack.upload("late/kept.png", await tinyPicture(100));
    const gone = await stack.upload("late/gone.png", await tinyPicture(101));
    await stack.untilAll([kept, gone], "applied");
    const { digest } = await stack.untilSource(kept, "applied");
    await stack.deleteUpload("late/gone.png");
    await stack.untilSource(gone, "deleted");
    const before = await sequences("images");

    // The creation of what is gone, the removal of what is there, and each of them several times.
    for (let round = 0; round < 3; round++) {
      await send("late/gone.png");
      await send("late/kept.png", "ObjectRemoved:Delete");
      await send("late/kept.png");
    }
    await stack.untilDrained("Uploads");
    expect(await sequences("images")).toEqual(before);
    expect((await stack.untilSource(kept, "applied")).digest).toBe(digest);
    expect(await recordsOf("images", kept)).toHaveLength(1);
    expect(await recordsOf("images", gone)).toEqual([]);
    expect(await stack.deadLetters()).toEqual({});
  });

  it("that nobody can read is kept as failed with the reason, holds up no other, and is retried by command", async () => {
    const since = Date.now();
    const [broken, huge, good] = await Promise.all([
      stack.upload("poison/broken.png", brokenPicture()),
      hugePicture().then((bytes) => stack.upload("poison/huge.png", bytes)),
      tinyPicture(102).then((bytes) => stack.upload("poison/good.png", bytes)),
    ]);
    await stack.untilSource(good, "applied");
    await stack.untilAll([broken, huge], "failed");
    await stack.untilDrained("Uploads");
    expect(await stack.deadLetters()).toEqual({});
    const status = await stack.silt("status", "--source", huge);
    expect(status.json).toMatchObject({ source: huge, state: "failed" });
    expect(status.json.reason).toMatch(/pixel/i);
    await stack.untilLogged(
      "ingest",
      since,
      (line) => line.message === "picture failed" && line.source === broken,
    );
    await stack.untilLogged("ingest", since, (line) => Number(line.FailedPictures) >= 1);

    // The command tries again: in vain, and then, as the upload's event is not seen, with a sound one.
    const before = await sequences("images");
    const retry = ["ingest", `s3://${stack.outputs.UploadsBucket}/poison`, "--retry-failed"];
    expect((await stack.silt(...retry)).json).toMatchObject({ failed: 2, ingested: 0 });
    expect(await sequences("images")).toEqual(before);
    await withEventSourceOff(stack, "ingest", async () => {
      await stack.upload("poison/broken.png", await tinyPicture(103));
      expect((await stack.silt(...retry)).json).toMatchObject({ failed: 1, ingested: 1 });
    });
    await stack.untilSource(broken, "applied");
    expect(await recordsOf("images", broken)).toHaveLength(1);
    await stack.deleteUpload("poison/huge.png");
    await waitUntil("the failure is gone with its picture", async () => {
      const { state } = await (await stack.store()).sourceStatus(huge);
      return state !== "failed";
    });
  });
});

describe("50 uploads at once into 2 shards", () => {
  it("are all searchable, in logs without gaps", async () => {
    const before = await sequences("images");
    const start = performance.now();
    const pictures = await Promise.all(
      Array.from({ length: 50 }, (_, at) => tinyPicture(200 + at)),
    );
    const sources = await Promise.all(
      pictures.map((bytes, at) => stack.upload(`many/${at}.png`, bytes)),
    );
    await stack.untilAll(sources, "applied");
    tell(
      `50 uploads at once -> all compacted ${((performance.now() - start) / 1000).toFixed(1)} s`,
    );
    const { records } = await (await collection("images")).get({ limit: 1_000 });
    const parents = new Set(records.map(({ parent }) => parent));
    expect(sources.filter((source) => !parents.has(source))).toEqual([]);
    expect(records.length).toBe(parents.size);
    const after = await sequences("images");
    expect(after.every((head, at) => head > (before[at] ?? 0))).toBe(true);
    expect(await stack.deadLetters()).toEqual({});
  });
});

describe("at the end", () => {
  it("the store verifies, no message is left, and every picture that is there answers", async () => {
    await stack.untilDrained("Uploads", "Compaction");
    await expectSound();
    expect(await stack.deadLetters()).toEqual({});
    const Bucket = stack.outputs.UploadsBucket;
    const { Contents = [] } = await stack.clients.s3.send(new ListObjectsV2Command({ Bucket }));
    const there = Contents.map(({ Key }) => `s3://${Bucket}/${Key}`);
    const { records } = await (await collection("images")).get({ limit: 1_000 });
    expect(records.map(({ parent }) => parent).toSorted()).toEqual(there.toSorted());
  });
});
