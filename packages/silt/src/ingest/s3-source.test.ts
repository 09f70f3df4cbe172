import { readFileSync } from "node:fs";
import { IMAGE_BYTES_MAX } from "@silt/embed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../store.ts";
import { type TemporaryStore, temporaryStore } from "../temporary-store.fixture.ts";
import { createImageSources, openRoots } from "./image-sources.ts";
import { ingestFrom } from "./ingest-paths.ts";
import type { IngestOptions } from "./ingest-report.ts";
import { type MemoryBucket, memoryBucket } from "./memory-bucket.fixture.ts";
import { idsOf, type PictureFolder, pictureFolder, recordsOf } from "./pictures.fixture.ts";
import { createS3Source } from "./s3-source.ts";

let temporary: TemporaryStore;
let store: Store;
let pictures: PictureFolder;
let bucket: MemoryBucket;
beforeEach(async () => {
  temporary = await temporaryStore();
  store = temporary.store;
  pictures = pictureFolder();
  bucket = memoryBucket();
});
afterEach(async () => {
  pictures[Symbol.dispose]();
  await temporary[Symbol.asyncDispose]();
});

const sources = () => createImageSources(createS3Source(async () => bucket));

const ingest = (options: IngestOptions = {}, ...places: readonly string[]) =>
  ingestFrom(store.context.ports, sources(), places.length > 0 ? places : ["s3://uploads/in"], {
    pipeline: "image",
    ...options,
  });

async function upload(key: string, seed: number, metadata?: Readonly<Record<string, string>>) {
  await pictures.paint("painted.png", seed);
  bucket.put(key, readFileSync(pictures.pathOf("painted.png")), metadata);
}

const guardOf = (uri: string) => store.context.ports.log.readGuard({ uri, family: "images" });

describe("objects of S3 as sources", () => {
  it("are named by their raw keys, and only pictures under the prefix are taken", async () => {
    await upload("in/a b+c%20é.png", 1);
    await upload("in/sub/b.png", 2);
    await upload("in-other/c.png", 3);
    await upload("in/.hidden/d.png", 4);
    bucket.put("in/notes.txt", new Uint8Array(3));
    expect(await ingest()).toMatchObject({ total: 2, ingested: 2, failed: 0 });
    const ids = ["s3://uploads/in/a b+c%20é.png#image", "s3://uploads/in/sub/b.png#image"];
    expect(await idsOf(store, "images")).toEqual(ids);
    expect(await ingest({}, "s3://uploads/in/", "s3://uploads")).toMatchObject({
      ingested: 1,
      skipped: 4,
    });
  });

  it("their user metadata is the sidecar, and a change of it alone is a change", async () => {
    const words = "=?UTF-8?B?TGUgY2Fmw6k=?= =?UTF-8?Q?_=C3=A0_Lyon?=";
    await upload("in/a.png", 1, { shop: "Kino", place: words, context: "two coffees" });
    await ingest();
    const [record] = await recordsOf(store, "images");
    expect(record).toMatchObject({
      document: "a.png: two coffees",
      metadata: { shop: "Kino", place: "Le café à Lyon" },
    });
    expect(await ingest()).toMatchObject({ skipped: 1 });
    await upload("in/a.png", 1, { shop: "Velo" });
    expect(await ingest()).toMatchObject({ ingested: 1 });
    expect((await recordsOf(store, "images"))[0]?.metadata.shop).toBe("Velo");
  });

  it("what is too large or no picture is a failure with its reason, tried again on request", async () => {
    bucket.put("in/large.png", new Uint8Array(IMAGE_BYTES_MAX + 1));
    bucket.put("in/text.png", new TextEncoder().encode("no picture"));
    const report = await ingest();
    expect(report.failures).toEqual([
      { source: "s3://uploads/in/large.png", reason: expect.stringContaining("67108865 bytes") },
      { source: "s3://uploads/in/text.png", reason: expect.stringContaining("text.png") },
    ]);
    const guard = await guardOf("s3://uploads/in/large.png");
    expect(guard).toMatchObject({ rev: 1, failure: { reason: report.failures[0]?.reason } });
    expect(await ingest()).toMatchObject({ failed: 2 });
    expect(await ingest({ retryFailed: true })).toMatchObject({ failed: 2 });
    expect(await guardOf("s3://uploads/in/large.png")).toMatchObject({ rev: 2 });
    bucket.put("in/large.png", new Uint8Array(IMAGE_BYTES_MAX + 1).fill(1));
    expect(await ingest()).toMatchObject({ failed: 2 });
    expect(await guardOf("s3://uploads/in/large.png")).toMatchObject({ rev: 3 });
  });

  it("what may not be read is never taken for gone", async () => {
    for (const n of [1, 2, 3]) await upload(`in/p-${n}.png`, n);
    await ingest();
    bucket.denied.add("in/p-2.png");
    bucket.objects.delete("in/p-2.png");
    expect(await sources().isGone("s3://uploads/in/p-2.png")).toBe(false);
    expect(await ingest({ prune: true })).toMatchObject({ skipped: 2, failed: 0, deleted: 0 });
    bucket.denied.clear();
    expect(await ingest({ prune: true, dryRun: true })).toMatchObject({
      plan: [{}, {}, { source: "s3://uploads/in/p-2.png", action: "gone" }],
    });
    expect(await ingest({ prune: true })).toMatchObject({ skipped: 2, deleted: 1 });
    expect((await idsOf(store, "images")).length).toBe(2);
  });

  it("a place that does not exist is refused, beside files that do", async () => {
    await upload("in/a.png", 1);
    await pictures.paint("b.png", 2);
    for (const place of ["s3://uploads/inn", "s3://uploads/in/b.png", "s3://"]) {
      await expect(ingest({}, pictures.path, place)).rejects.toMatchObject({ kind: "invalid" });
    }
    expect(await store.collections()).toEqual([]);
    const both = await ingest({}, pictures.pathOf("b.png"), "s3://uploads/in/a.png");
    expect(both).toMatchObject({ ingested: 2 });
    const roots = await openRoots(sources(), ["s3://uploads"]);
    expect(roots).toEqual([{ kind: "folder", path: "s3://uploads", uri: "s3://uploads" }]);
  });

  it("a listing of many pages is followed to its end", async () => {
    for (let n = 0; n < 2_000; n++) bucket.put(`in/${n}.png`, new Uint8Array(0));
    const roots = await openRoots(sources(), ["s3://uploads/in"]);
    expect((await Array.fromAsync(sources().walk(roots))).length).toBe(2_000);
  });
});
