/** Going back, and what the sources of what was undone need to come back (F56). */
import { rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Guard } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { idsOf, type PictureFolder, pictureFolder } from "./ingest/pictures.fixture.ts";
import type { Store } from "./store.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";
import { planIngests } from "./undone-sources.ts";

let temporary: TemporaryStore;
let store: Store;
let pictures: PictureFolder;
beforeEach(async () => {
  temporary = await temporaryStore();
  store = temporary.store;
  pictures = pictureFolder();
});
afterEach(async () => {
  pictures[Symbol.dispose]();
  await temporary[Symbol.asyncDispose]();
});

const ingest = (...options: readonly string[]) =>
  store.ingest([pictures.path], { pipeline: "image", prune: options.includes("--prune") });
const imageId = (name: string) => `${pictures.uriOf(name)}#image`;

/** Version 1 has a.png, 2 has b.png too; 3 has b.png in another state, and no a.png. */
async function threeVersions(): Promise<void> {
  await pictures.paint("a.png", 1);
  await ingest();
  await store.compact();
  await pictures.paint("b.png", 2);
  await ingest();
  await store.compact();
  await pictures.paint("b.png", 3);
  rmSync(pictures.pathOf("a.png"));
  await ingest("--prune");
  await store.compact();
}

describe("Store.rollback()", () => {
  it("F56 names the sources that it undid, and ingesting them brings them back", async () => {
    await pictures.paint("a.png", 1);
    await ingest();
    await store.compact();
    await pictures.paint("b.png", 2);
    await ingest();
    await store.compact();
    const options = { shard: "0-of-1" };
    const preview = await store.previewRollback("images", 1, options);
    const b = { sources: [pictures.uriOf("b.png")], elsewhere: 0 };
    const undone = { runs: 1, records: 1 };
    expect(preview).toMatchObject({ from: 2, to: 1, undone, ...b });
    const report = await store.rollback("images", 1, { baseVersion: preview.from });
    const call = [join(pictures.path, "b.png"), "--pipeline", "image"];
    expect(report).toMatchObject({ outcome: "rolled-back", undone, ...b, ingest: [call] });
    expect(await idsOf(store, "images")).toEqual([imageId("a.png")]);
    expect(await store.sourceStatus(pictures.uriOf("b.png"))).toMatchObject({
      state: "excluded",
      reason: expect.stringMatching(/^rolled back from version 2 to 1/),
    });

    expect(await ingest()).toMatchObject({ ingested: 1, skipped: 1 });
    await store.compact();
    expect(await idsOf(store, "images")).toEqual([imageId("a.png"), imageId("b.png")]);
    expect(await store.sourceStatus(pictures.uriOf("b.png"))).toMatchObject({ state: "applied" });
    expect((await store.verify()).problems).toEqual([]);
    expect(await store.quarantined()).toEqual([]);
  });

  it("F56 a deletion that it undid is made again by prune, for the file is gone", async () => {
    await threeVersions();
    expect(await idsOf(store, "images")).toEqual([imageId("b.png")]);
    const report = await store.rollback("images", 2);
    expect(report.sources).toEqual([pictures.uriOf("a.png"), pictures.uriOf("b.png")]);
    expect(report.ingest).toEqual(
      expect.arrayContaining([
        [pictures.path, "--pipeline", "image", "--prune"],
        [join(pictures.path, "b.png"), "--pipeline", "image"],
      ]),
    );
    expect(await idsOf(store, "images")).toEqual([imageId("a.png"), imageId("b.png")]);
    expect(await ingest("--prune")).toMatchObject({ ingested: 1, deleted: 1 });
    await store.compact();
    expect(await idsOf(store, "images")).toEqual([imageId("b.png")]);
    expect(await ingest("--prune")).toMatchObject({ ingested: 0, deleted: 0, skipped: 1 });
  });

  it("counts no run twice that an earlier rollback had undone", async () => {
    const notes = await store.collection("notes", { dimension: 2 });
    for (const id of ["a", "b", "c"]) {
      await notes.put([{ id, embedding: [1, 1] }]);
      await store.compact();
    }
    expect(await store.rollback("notes", 2)).toMatchObject({ undone: { runs: 1 } });
    expect(await store.previewRollback("notes", 0)).toMatchObject({ undone: { runs: 2 } });
    expect(await store.rollback("notes", 0)).toMatchObject({ from: 4, undone: { runs: 2 } });
    const preview = await store.previewRollback("notes", 0);
    expect(preview).toMatchObject({ from: 5, undone: { runs: 0, records: 0 } });
    await expect(store.rollback("notes", 1, { baseVersion: 4 })).rejects.toMatchObject({
      kind: "conflict",
    });
  });

  it("is told as done although the log cannot name the sources", async () => {
    const notes = await store.collection("notes", { dimension: 2 });
    await notes.put([{ id: "a", embedding: [1, 1] }]);
    await store.compact();
    const { ports } = store.context;
    const { listGuards } = ports.log;
    ports.log.listGuards = () => Promise.reject(new Error("the log went away"));
    const report = await store.rollback("notes", 0);
    ports.log.listGuards = listGuards;
    expect(report).toMatchObject({ outcome: "rolled-back", version: 2, sources: [] });
    expect(report.warnings).toEqual([expect.stringMatching(/could not be listed.*went away/)]);
  });

  it("is busy, and changes nothing, while somebody holds the lease", async () => {
    const notes = await store.collection("notes", { dimension: 2 });
    await notes.put([{ id: "a", embedding: [1, 1] }]);
    await store.compact();
    const { collection, storeId } = notes.identity;
    const shard = { collection, storeId, shard: "0-of-1" };
    const lease = { holder: "another/1", ttlMs: 60_000, skewMs: 0, aboveEpoch: 0 };
    await store.context.ports.leases.acquire(shard, lease);
    const report = await store.rollback("notes", 0);
    expect(report).toMatchObject({ outcome: "busy", holder: "another/1", version: null });
    expect(await idsOf(store, "notes")).toEqual(["a"]);
  });
});

describe("planIngests()", () => {
  const guard = (path: string, more: Partial<Guard> = {}): Guard => ({
    format: 1,
    requires: [],
    uri: pathToFileURL(path).href,
    family: "images",
    rev: 1,
    sourceDigest: "0".repeat(64),
    pipelineId: "silt-image-1;pipeline=auto;ocr=x",
    runs: [],
    failure: null,
    root: `${hostname()}:/p`,
    ...more,
  });

  it("names few files, and of many their folders, none inside of another", () => {
    expect(planIngests([guard("/p/a b.png"), guard("/p/c.png")])).toEqual([
      ["/p/a b.png", "/p/c.png"],
    ]);
    const many = Array.from({ length: 9 }, (_, n) => guard(`/p/${n % 2 ? "x/y" : "x"}/${n}.png`));
    expect(planIngests(many)).toEqual([["/p/x"]]);
    const spread = Array.from({ length: 50 }, (_, n) => guard(`/p/${n}/${n}.png`));
    expect(planIngests(spread)).toEqual([["/p"]]);
  });

  it("makes a call for each pipeline, and one for deletions", () => {
    const text = { pipelineId: "silt-image-1;pipeline=text;ocr=x" };
    const calls = planIngests([
      guard("/p/a.png"),
      guard("/p/b.png", text),
      guard("/p/c.png", { ...text, sourceDigest: null }),
    ]);
    expect(calls).toEqual([
      ["/p/a.png"],
      ["/p/b.png", "--pipeline", "text"],
      ["/p", "--pipeline", "text", "--prune"],
    ]);
  });
});
