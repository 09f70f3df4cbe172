import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Ports, SiltError } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type MemoryBucket,
  memoryBucket,
} from "../packages/silt/src/ingest/memory-bucket.fixture.ts";
import {
  idsOf,
  type PictureFolder,
  pictureFolder,
} from "../packages/silt/src/ingest/pictures.fixture.ts";
import { createImageSources, createS3Source, type Store } from "../packages/silt/src/serverless.ts";
import {
  type TemporaryStore,
  temporaryStore,
} from "../packages/silt/src/temporary-store.fixture.ts";
import { createIngestHandler } from "./ingest.lambda.ts";
import {
  failedIds,
  s3Body,
  sqsEvent,
  type TestWiring,
  testContext,
  testWiring,
} from "./wiring.fixture.ts";

const PAGE = join(import.meta.dirname, "../examples/images/page-lost-cat.png");

let temporary: TemporaryStore;
let store: Store;
let pictures: PictureFolder;
let bucket: MemoryBucket;
let wiring: TestWiring;
let handle: ReturnType<typeof createIngestHandler>;
beforeEach(async () => {
  temporary = await temporaryStore();
  store = temporary.store;
  pictures = pictureFolder();
  bucket = memoryBucket();
  useStore(store);
});
afterEach(async () => {
  pictures[Symbol.dispose]();
  await temporary[Symbol.asyncDispose]();
});

function useStore(used: Store): void {
  wiring = testWiring(used);
  const sources = createImageSources(createS3Source(async () => bucket));
  handle = createIngestHandler({ ...wiring, sources });
}

async function paint(key: string, seed: number): Promise<void> {
  await pictures.paint("painted.png", seed);
  bucket.put(key, readFileSync(pictures.pathOf("painted.png")));
}

const take = async (bodies: Readonly<Record<string, string>>, remaining = 60_000) =>
  failedIds(await handle(sqsEvent(bodies), testContext(remaining)));
const guardOf = (key: string) =>
  store.context.ports.log.readGuard({ uri: `s3://uploads/${key}`, family: "images" });
const told = () => wiring.lines.find(({ message }) => message === "uploads")?.fields;

describe("the ingest function", () => {
  it("takes pictures by their decoded keys, and the same one several times in a batch once", async () => {
    await paint("in/a b+c%20é.png", 1);
    await paint("in/b.png", 2);
    const body = s3Body("in/a b+c%20é.png");
    expect(body).toContain("a+b%2Bc%2520%C3%A9.png");
    expect(await take({ m1: body, m2: body, m3: s3Body("in/b.png") })).toEqual([]);
    const ids = ["s3://uploads/in/a b+c%20é.png#image", "s3://uploads/in/b.png#image"];
    expect(await idsOf(store, "images")).toEqual(ids);
    expect(told()).toMatchObject({ ingested: 2, unchanged: 0, failed: 0, messagesFailed: 0 });
    expect((await guardOf("in/b.png"))?.rev).toBe(1);
  });

  it("F16 events that come again, late or in another order change nothing", async () => {
    await paint("a.png", 1);
    await paint("b.png", 2);
    const created = { m1: s3Body("a.png"), m2: s3Body("b.png") };
    await take(created);
    bucket.objects.delete("b.png");
    const removed = s3Body("b.png", "ObjectRemoved:DeleteMarkerCreated");
    expect(await take({ m3: removed })).toEqual([]);
    expect(await idsOf(store, "images")).toEqual(["s3://uploads/a.png#image"]);
    const guards = [await guardOf("a.png"), await guardOf("b.png")];
    // The removal before the creation, and both again; then a removal of what was uploaded anew.
    await take({ m4: removed, ...created });
    await take({ m5: s3Body("a.png", "ObjectRemoved:Delete") });
    expect([await guardOf("a.png"), await guardOf("b.png")]).toEqual(guards);
    expect(await idsOf(store, "images")).toEqual(["s3://uploads/a.png#image"]);
    await paint("b.png", 3);
    await take({ m6: removed });
    expect((await idsOf(store, "images")).length).toBe(2);
  });

  it("F16 a removal told while the picture is still extracted is not lost", async () => {
    await paint("a.png", 1);
    const removed = s3Body("a.png", "ObjectRemoved:Delete");
    const { read } = bucket;
    bucket.read = async (...asked) => {
      const found = await read(...asked);
      bucket.read = read;
      bucket.objects.delete("a.png");
      expect(await take({ m2: removed })).toEqual([]);
      expect(told()).toMatchObject({ ingested: 0, deleted: 0 });
      return found;
    };
    expect(await take({ m1: s3Body("a.png") })).toEqual([]);
    expect(await idsOf(store, "images")).toEqual([]);
    expect(await guardOf("a.png")).toMatchObject({ rev: 2, sourceDigest: null });
  });

  it("F18 a picture that changes faster than it is ingested comes again", async () => {
    await paint("a.png", 1);
    const { read } = bucket;
    let n = 0;
    bucket.read = async (...asked) => {
      const found = await read(...asked);
      bucket.put("a.png", new TextEncoder().encode(`no picture ${++n}`));
      return found;
    };
    expect(await take({ m1: s3Body("a.png") })).toEqual(["m1"]);
    bucket.read = read;
    expect(await take({ m1: s3Body("a.png") })).toEqual([]);
    expect(await guardOf("a.png")).toMatchObject({
      failure: { reason: expect.stringContaining("a.png") },
    });
  });

  it("a warm container knows collections that others made since it started", async () => {
    await paint("a.png", 1);
    await take({ m1: s3Body("a.png") });
    const sources = createImageSources(createS3Source(async () => bucket));
    const env = { ...wiring.env, pipeline: "auto" } as const;
    const other = createIngestHandler({ ...wiring, env, sources });
    bucket.put("a.png", readFileSync(PAGE));
    await other(sqsEvent({ m2: s3Body("a.png") }), testContext());
    expect((await idsOf(store, "lines")).length).toBeGreaterThan(0);
    await paint("a.png", 2);
    expect(await take({ m3: s3Body("a.png") })).toEqual([]);
    expect(await idsOf(store, "lines")).toEqual([]);
    expect(await idsOf(store, "words")).toEqual([]);
    expect((await idsOf(store, "images")).length).toBe(1);
  });

  it("a change of what a newer Silt has ingested comes again, until that takes it", async () => {
    await paint("a.png", 1);
    await paint("b.png", 2);
    const bodies = { m1: s3Body("a.png"), m2: s3Body("b.png"), m3: s3Body("c.png") };
    await take(bodies);
    const guards = [await guardOf("a.png"), await guardOf("b.png")].flatMap((guard) => guard ?? []);
    const newer = guards.map(({ pipelineId, ...guard }) => ({
      ...guard,
      rev: 2,
      pipelineId: pipelineId.replace(/^silt-image-\d+/, "silt-image-99"),
    }));
    const updates = newer.map((next) => ({ expectedRev: 1, next }));
    await store.context.ports.log.commit({ appends: [], guards: updates });
    expect(await take(bodies)).toEqual([]);
    await paint("a.png", 3);
    bucket.objects.delete("b.png");
    expect(await take(bodies)).toEqual(["m1", "m2"]);
    expect([await guardOf("a.png"), await guardOf("b.png")]).toEqual(newer);
    const reason = expect.stringContaining("a newer Silt has ingested it");
    const lines = wiring.lines.filter(({ level }) => level === "error");
    expect(lines).toMatchObject([{ fields: { reason } }, { fields: { reason } }]);
  });

  it("F18 the test event and names of no pictures are done; what is no S3 event fails alone", async () => {
    await paint("a.png", 1);
    const testEvent = {
      Service: "Amazon S3",
      Event: "s3:TestEvent",
      Time: "2026-11-28T21:00:00.000Z",
      Bucket: "uploads",
      RequestId: "5582815E1AEA5ADF",
      HostId: "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
    };
    const bodies = {
      test: JSON.stringify(testEvent),
      text: s3Body("notes.txt"),
      hidden: s3Body(".trash/b.png"),
      good: s3Body("a.png"),
      json: "{",
      other: JSON.stringify({ Records: [{ eventSource: "aws:sns" }] }),
      key: s3Body("a.png").replace("a.png", "%E0%A4%A.png"),
    };
    expect(await take(bodies)).toEqual(["json", "other", "key"]);
    expect(told()).toMatchObject({ ingested: 1, ignored: 2, messagesFailed: 3 });
    expect(await take({ only: bodies.test })).toEqual([]);
  });

  it("F23 a picture's own fault is kept with its reason and fails no message", async () => {
    bucket.put("bad.png", new TextEncoder().encode("no picture"));
    bucket.put("large.png", new Uint8Array(64 * 1024 * 1024 + 1));
    const bodies = { m1: s3Body("bad.png"), m2: s3Body("large.png") };
    expect(await take(bodies)).toEqual([]);
    const failures = [await guardOf("bad.png"), await guardOf("large.png")];
    expect(failures).toMatchObject([
      { rev: 1, failure: { reason: expect.stringContaining("bad.png") } },
      { rev: 1, failure: { reason: expect.stringContaining("67108865 bytes") } },
    ]);
    expect(wiring.values.get("FailedPictures")).toEqual([2]);
    await take(bodies);
    expect([await guardOf("bad.png"), await guardOf("large.png")]).toEqual(failures);
  });

  it("F18 what S3 does not give, or denies, comes again, and does not keep others from it", async () => {
    for (const n of [1, 2, 3]) await paint(`p-${n}.png`, n);
    bucket.failing.add("p-1.png");
    bucket.denied.add("p-2.png");
    const bodies = { m1: s3Body("p-1.png"), m2: s3Body("p-2.png"), m3: s3Body("p-3.png") };
    expect(await take(bodies)).toEqual(["m1", "m2"]);
    expect(await idsOf(store, "images")).toEqual(["s3://uploads/p-3.png#image"]);
    expect(await guardOf("p-2.png")).toBeUndefined();
    bucket.failing.clear();
    bucket.denied.clear();
    expect(await take(bodies)).toEqual([]);
    expect((await idsOf(store, "images")).length).toBe(3);
  });

  it("F63 a message is done only when its picture is registered", async () => {
    await paint("a.png", 1);
    let isDown = true;
    const { ports } = store.context;
    const log: Ports["log"] = {
      ...ports.log,
      commit: (transaction) =>
        isDown && transaction.guards.length > 0
          ? Promise.reject(new SiltError("unavailable", "Cannot write: throttled"))
          : ports.log.commit(transaction),
    };
    const throttled = Object.create(store, {
      context: { value: { ...store.context, ports: { ...ports, log } } },
    });
    useStore(throttled);
    // It would be tried for longer than that; the answer does not wait for it.
    expect(await take({ m1: s3Body("a.png") }, 4_000)).toEqual(["m1"]);
    expect(await guardOf("a.png")).toBeUndefined();
    isDown = false;
    expect(await take({ m1: s3Body("a.png") })).toEqual([]);
    expect(await idsOf(store, "images")).toEqual(["s3://uploads/a.png#image"]);
  });

  it("F13 when the time is up it ends what it reads", async () => {
    let isEnded = false;
    bucket.read = (_, { signal }) =>
      new Promise((_, reject) => {
        signal?.addEventListener("abort", () => {
          isEnded = true;
          reject(signal.reason);
        });
      });
    expect(await take({ m1: s3Body("a.png") }, 1_000)).toEqual(["m1"]);
    expect(isEnded).toBe(true);
  });

  it("F13 when the time is up it answers what is left, and the next invocation works", async () => {
    for (let n = 0; n < 5; n++) await paint(`p-${n}.png`, n);
    const bodies = Object.fromEntries(
      Array.from({ length: 5 }, (_, n) => [`m${n}`, s3Body(`p-${n}.png`)]),
    );
    // Threads take longer than this to start.
    const failed = await take(bodies, 20);
    expect(failed.length).toBeGreaterThan(0);
    expect((await idsOf(store, "images")).length).toBe(5 - failed.length);
    expect(await take(bodies)).toEqual([]);
    expect((await idsOf(store, "images")).length).toBe(5);
  });
});
