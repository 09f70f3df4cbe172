import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Store } from "../store.ts";
import { type TemporaryStore, temporaryStore } from "../temporary-store.fixture.ts";
import { idsOf, type PictureFolder, pictureFolder } from "./pictures.fixture.ts";
import { type WatchEvent, watchFolder } from "./watch-folder.ts";

vi.setConfig({ testTimeout: 60_000 });

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

/** A watch in this process: `next` waits for the first event of this name after the last one taken. */
function startWatch() {
  const controller = new AbortController();
  const events: WatchEvent[] = [];
  let arrival = Promise.withResolvers<void>();
  let taken = 0;
  const ended = watchFolder(store.context.ports, pictures.path, {
    pipeline: "image",
    signal: controller.signal,
    onEvent: (event) => {
      events.push(event);
      arrival.resolve();
    },
  });
  const failed = ended.then(() => Promise.reject<never>(new Error("the watch ended")));
  failed.catch(() => {});
  return {
    events,
    async next(name: WatchEvent["event"]): Promise<WatchEvent> {
      for (;;) {
        while (taken < events.length) {
          const event = events[taken++] as WatchEvent;
          if (event.event === name) return event;
        }
        arrival = Promise.withResolvers();
        await Promise.race([arrival.promise, failed]);
      }
    },
    async stop() {
      controller.abort(new Error("enough"));
      await ended;
    },
  };
}

describe("watchFolder()", () => {
  it("first does what happened while nobody watched: new, changed, failed and gone", async () => {
    for (const n of [1, 2, 3, 4]) await pictures.paint(`p-${n}.png`, n);
    await store.ingest([pictures.path], { pipeline: "image" });
    await pictures.paint("p-1.png", 9);
    rmSync(pictures.pathOf("p-2.png"));
    await pictures.paint("p-5.png", 5);
    writeFileSync(pictures.pathOf("p-6.png"), "no picture");
    const watch = startWatch();
    expect(await watch.next("ready")).toEqual({ event: "ready", folder: pictures.path });
    await watch.stop();
    const told = watch.events.flatMap((event) =>
      "source" in event ? [`${event.event} ${event.source}`] : [],
    );
    expect(told.sort()).toEqual([
      `deleted ${pictures.uriOf("p-2.png")}`,
      `failed ${pictures.uriOf("p-6.png")}`,
      `ingested ${pictures.uriOf("p-1.png")}`,
      `ingested ${pictures.uriOf("p-5.png")}`,
    ]);
    expect(watch.events.some(({ event }) => event === "compacted")).toBe(true);
    expect((await store.status("images"))[0]?.shards[0]).toMatchObject({ pending: 0, rows: 4 });
  });

  it("ingests what appears, changes and goes, sidecars and folders too, and compacts after it", async () => {
    const watch = startWatch();
    await watch.next("ready");
    await pictures.paint("a.png", 1);
    expect(await watch.next("ingested")).toMatchObject({
      source: pictures.uriOf("a.png"),
      images: 1,
    });
    expect(await watch.next("compacted")).toMatchObject({
      collection: "images",
      version: 1,
      rows: 1,
    });
    writeFileSync(pictures.pathOf("a.png.json"), `{"shop":"Kino"}`);
    expect(await watch.next("ingested")).toMatchObject({ source: pictures.uriOf("a.png") });
    await watch.next("compacted");
    const [record] = (await (await store.collection("images")).get({})).records;
    expect(record?.metadata.shop).toBe("Kino");

    using other = pictureFolder();
    await other.paint("new/b.png", 2);
    await other.paint("new/deep/c.png", 3);
    renameSync(join(other.path, "new"), join(pictures.path, "new"));
    const sources = [await watch.next("ingested"), await watch.next("ingested")];
    expect(sources.map((event) => "source" in event && event.source).sort()).toEqual([
      pictures.uriOf("new/b.png"),
      pictures.uriOf("new/deep/c.png"),
    ]);
    await watch.next("compacted");
    rmSync(join(pictures.path, "new"), { recursive: true });
    await watch.next("deleted");
    await watch.next("deleted");
    await watch.next("compacted");
    expect(await idsOf(store, "images")).toEqual([`${pictures.uriOf("a.png")}#image`]);
    await watch.stop();
  });

  it("a picture that fails is an event, not the end, and a mended one is ingested", async () => {
    const watch = startWatch();
    await watch.next("ready");
    writeFileSync(pictures.pathOf("bad.png"), "no picture");
    expect(await watch.next("failed")).toMatchObject({ source: pictures.uriOf("bad.png") });
    await pictures.paint("bad.png", 1);
    expect(await watch.next("ingested")).toMatchObject({ source: pictures.uriOf("bad.png") });
    await watch.stop();
    expect(await store.sourceStatus(pictures.pathOf("bad.png"))).not.toMatchObject({
      state: "failed",
    });
  });

  it("does not take an empty folder for a deletion of everything", async () => {
    await pictures.paint("a.png", 1);
    await store.ingest([pictures.path], { pipeline: "image" });
    rmSync(pictures.pathOf("a.png"));
    mkdirSync(pictures.pathOf("empty"));
    const watch = startWatch();
    expect(await watch.next("failed")).toMatchObject({
      reason: expect.stringContaining("is a disk missing?"),
    });
    await watch.next("ready");
    await watch.stop();
    expect((await idsOf(store, "images")).length).toBe(1);
  });

  it("ends when a collection was made anew, for it would write into the old one", async () => {
    const watch = startWatch();
    await watch.next("ready");
    await pictures.paint("a.png", 1);
    await watch.next("compacted");
    const { objects } = store.context.ports;
    for (const { key } of await objects.list("collections/images/", { limit: 100 })) {
      await objects.delete(key);
    }
    const other = await temporary.reopen();
    await other.ingest([pictures.path], { pipeline: "image" });
    await pictures.paint("a.png", 2);
    await expect(watch.next("failed")).rejects.toMatchObject({
      kind: "fenced",
      message: expect.stringContaining("start it again"),
    });
    // Started again, it loses nothing.
    const again = startWatch();
    expect(await again.next("ingested")).toMatchObject({ source: pictures.uriOf("a.png") });
    await again.next("ready");
    await again.stop();
  });

  it("refuses a file", async () => {
    await pictures.paint("a.png", 1);
    const options = { signal: new AbortController().signal, onEvent: () => {} };
    const watching = watchFolder(store.context.ports, pictures.pathOf("a.png"), options);
    await expect(watching).rejects.toMatchObject({ kind: "invalid" });
  });
});
