import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Guard, type LogTransaction, type Ports, SiltError } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Store } from "../store.ts";
import { type TemporaryStore, temporaryStore } from "../temporary-store.fixture.ts";
import { type IngestOptions, type IngestReport, ingestPaths } from "./ingest-paths.ts";
import { idsOf, type PictureFolder, pictureFolder, recordsOf } from "./pictures.fixture.ts";
import { rootOf } from "./source-uri.ts";

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

/** Without OCR, which most of these rules don't need. */
const ingest = (options: IngestOptions = {}) =>
  store.ingest([pictures.path], { pipeline: "image", ...options });

const paintMany = async (count: number) => {
  for (let n = 0; n < count; n++) await pictures.paint(`p-${String(n).padStart(3, "0")}.png`, n);
};

async function deltaPath(runId: string): Promise<string> {
  const objects = await store.context.ports.objects.list("collections/", { limit: 9_999 });
  return join(temporary.location, objects.find(({ key }) => key.includes(runId))?.key ?? "");
}

const guardOf = (name: string) =>
  store.context.ports.log.readGuard({ uri: pictures.uriOf(name), family: "images" });

const knownGuard = (uri: string, runs: Guard["runs"]): Guard => ({
  format: 1,
  requires: [],
  uri,
  family: "images",
  rev: 1,
  sourceDigest: "0".repeat(64),
  pipelineId: "silt-image-1",
  runs,
  failure: null,
  root: rootOf(pictures.path),
});

/** The same ports, with a log that does something before each commit. */
function withCommitHook(
  ports: Ports,
  before: (transaction: LogTransaction) => Promise<void>,
): Ports {
  const { log } = ports;
  return {
    ...ports,
    log: {
      ...log,
      commit: async (transaction) => {
        await before(transaction);
        return log.commit(transaction);
      },
    },
  };
}

describe("ingestPaths()", () => {
  it("F60 registers lines, words and the image of a picture in one transaction with its guard", async () => {
    pictures.example("receipt-kino-cafe.png");
    pictures.example("receipt-kino-cafe.png.json");
    const report = await store.ingest([pictures.path]);
    expect(report).toMatchObject({ total: 1, ingested: 1, skipped: 0, failed: 0, failures: [] });
    const { lines, words, images } = report.records;
    expect([lines > 5, words > lines, images]).toEqual([true, true, 1]);
    const uri = pictures.uriOf("receipt-kino-cafe.png");
    const guard = await guardOf("receipt-kino-cafe.png");
    expect(guard?.runs.map(({ runId }) => runId)).toEqual(report.runs.map(({ runId }) => runId));
    const { log } = store.context.ports;
    for (const { collection, shard, runId } of report.runs) {
      const { identity } = await store.collection(collection);
      const ref = { collection, shard, storeId: identity.storeId };
      const [run] = await log.readRuns(ref, { after: 0, limit: 9 });
      expect(run).toMatchObject({ runId, source: uri });
      expect(run?.companions.map((companion) => companion.runId).sort()).toEqual(
        report.runs.map((other) => other.runId).filter((other) => other !== runId),
      );
    }
    const [line] = await recordsOf(store, "lines");
    const sidecar = JSON.parse(readFileSync(pictures.pathOf("receipt-kino-cafe.png.json"), "utf8"));
    const { context: _, ...metadata } = sidecar;
    expect(line).toMatchObject({ id: `${uri}#line-0001`, parent: uri, metadata });
  });

  it("F60 a commit that fails leaves neither lines nor guard, and the next run does it all", async () => {
    pictures.example("page-lost-cat.png");
    const { ports } = store.context;
    const broken = withCommitHook(ports, () => Promise.reject(new Error("the power went")));
    await expect(ingestPaths(broken, [pictures.path], {})).rejects.toThrow("the power went");
    expect(await guardOf("page-lost-cat.png")).toBeUndefined();
    expect(await idsOf(store, "lines")).toEqual([]);
    const report = await store.ingest([pictures.path]);
    expect(report).toMatchObject({ ingested: 1, skipped: 0, runs: [{}, {}, {}] });
  });

  it("skips unchanged pictures without a write, and takes a changed picture or sidecar again", async () => {
    await paintMany(3);
    expect(await ingest()).toMatchObject({ ingested: 3, records: { images: 3 } });
    expect(await ingest()).toMatchObject({ ingested: 0, skipped: 3, runs: [] });
    writeFileSync(pictures.pathOf("p-001.png.json"), `{"shop":"Kino"}`);
    await pictures.paint("p-002.png", 99);
    expect(await ingest()).toMatchObject({ ingested: 2, skipped: 1 });
    const records = await recordsOf(store, "images");
    expect(records.map(({ metadata }) => metadata.shop)).toEqual([undefined, "Kino", undefined]);
    rmSync(pictures.pathOf("p-001.png.json"));
    expect(await ingest()).toMatchObject({ ingested: 1, skipped: 2 });
    expect((await recordsOf(store, "images"))[1]?.metadata.shop).toBeUndefined();
  });

  it("F67 a page read again with fewer lines, then with none, keeps none of its old ones", async () => {
    const read = async (example: string) => {
      pictures.example(example, "page.png");
      return store.ingest([pictures.path]);
    };
    await read("page-river-notes.png");
    await store.compact();
    const fewer = await read("page-lost-cat.png");
    expect((await idsOf(store, "lines")).length).toBe(fewer.records.lines);
    expect((await idsOf(store, "words")).length).toBe(fewer.records.words);
    const none = await read("photo-alps.jpg");
    expect(none.records).toEqual({ lines: 0, words: 0, images: 1 });
    expect(none.runs.map(({ collection }) => collection)).toEqual(["lines", "words", "images"]);
    for (const compacted of [false, true]) {
      if (compacted) await store.compact();
      expect(await idsOf(store, "lines")).toEqual([]);
      expect(await idsOf(store, "words")).toEqual([]);
      expect(await idsOf(store, "images")).toEqual([`${pictures.uriOf("page.png")}#image`]);
    }
  });

  it("F63 progress counts a picture only when another process can see it", async () => {
    await paintMany(20);
    const other = await temporary.reopen();
    const seen: Promise<boolean>[] = [];
    await ingest({
      onProgress: ({ done, source, ingested, total }) => {
        expect([done, total]).toEqual([ingested, 20]);
        const key = { uri: source ?? "", family: "images" };
        seen.push(other.context.ports.log.readGuard(key).then((guard) => guard !== undefined));
      },
    });
    expect(await Promise.all(seen)).toEqual(Array.from({ length: 20 }, () => true));
  });

  it("many pictures are few deltas, with several workers too", async () => {
    await paintMany(40);
    const report = await ingest({ workers: 2 });
    expect(report).toMatchObject({ total: 40, ingested: 40, records: { images: 40 } });
    expect(report.runs.length).toBeLessThan(20);
    expect((await idsOf(store, "images")).length).toBe(40);
  });

  it("the same picture by several paths is ingested once", async () => {
    await paintMany(2);
    const one = pictures.pathOf("p-000.png");
    const report = await store.ingest([one, pictures.path, one], { pipeline: "image" });
    expect(report).toMatchObject({ total: 4, ingested: 2, skipped: 2, failed: 0 });
  });

  it("an aborted ingest registers what it had, and the next one goes on from there", async () => {
    // While a slow disk registers one batch, each of the three sources side by side can fill another.
    await paintMany(60);
    const controller = new AbortController();
    const reason = new Error("interrupted");
    const told: string[] = [];
    const aborted = ingest({
      signal: controller.signal,
      onProgress: ({ source = "", ingested }) => {
        told.push(source);
        if (ingested === 16) controller.abort(reason);
      },
    });
    await expect(aborted).rejects.toBe(reason);
    expect(told.length).toBeGreaterThanOrEqual(16);
    expect(told.length).toBeLessThan(60);
    expect(await ingest()).toMatchObject({ skipped: told.length, ingested: 60 - told.length });
    expect((await idsOf(store, "images")).length).toBe(60);
  });

  it("wrong paths and options are refused before anything is made", async () => {
    await paintMany(1);
    const refused = (paths: readonly string[], options: IngestOptions = {}) =>
      expect(store.ingest(paths, options)).rejects.toMatchObject({ kind: "invalid" });
    writeFileSync(pictures.pathOf("notes.txt"), "x");
    await refused([pictures.path, pictures.pathOf("missing.png")]);
    await refused([pictures.pathOf("notes.txt")]);
    await refused([pictures.path], { workers: 0 });
    await refused([pictures.pathOf("p-000.png")], { prune: true });
    await refused([pictures.path], { textEmbedder: "image-descriptor" });
    expect(await store.collections()).toEqual([]);
  });

  it("F06 a collection keeps its embedder, and another one is refused", async () => {
    await paintMany(1);
    await store.collection("images", { dimension: 3 });
    await expect(ingest()).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining("made without an embedder"),
    });
    await store.collection("lines", { embedder: "use-lite" });
    await expect(
      store.ingest([pictures.path], {
        pipeline: "text",
        textEmbedder: "xenova:Xenova/all-MiniLM-L6-v2",
      }),
    ).rejects.toThrow(`it has embedder "use-lite"`);
  });

  it("a dry run says what would be done, and writes nothing", async () => {
    await paintMany(3);
    const action = ({ plan = [] }: IngestReport) => plan.map((planned) => planned.action);
    expect(action(await ingest({ dryRun: true }))).toEqual(["new", "new", "new"]);
    expect(await store.collections()).toEqual([]);
    writeFileSync(pictures.pathOf("p-001.png"), "no picture");
    await ingest();
    await pictures.paint("p-000.png", 7);
    rmSync(pictures.pathOf("p-002.png"));
    const planned = await ingest({ dryRun: true, prune: true });
    expect(action(planned)).toEqual(["changed", "failed", "gone"]);
    expect(planned).toMatchObject({ total: 2, ingested: 0, failed: 1, deleted: 0, runs: [] });
    expect((await idsOf(store, "images")).length).toBe(2);
  });
});

describe("a picture that fails", () => {
  it("fails alone, is kept in mind, and is tried again when it changed or on request", async () => {
    await paintMany(2);
    writeFileSync(pictures.pathOf("bad.png"), "this is no picture");
    const first = await ingest();
    expect(first).toMatchObject({ total: 3, ingested: 2, failed: 1 });
    expect(first.failures).toEqual([
      { source: pictures.uriOf("bad.png"), reason: expect.stringContaining("bad.png") },
    ]);
    const before = await guardOf("bad.png");
    expect(await ingest()).toMatchObject({ skipped: 2, failed: 1, failures: first.failures });
    expect(await guardOf("bad.png")).toEqual(before);
    expect(await ingest({ retryFailed: true })).toMatchObject({ skipped: 2, failed: 1 });
    expect((await guardOf("bad.png"))?.rev).toBe((before?.rev ?? 0) + 1);
    await pictures.paint("bad.png", 5);
    expect(await ingest()).toMatchObject({ skipped: 2, ingested: 1, failed: 0 });
    expect(await guardOf("bad.png")).toMatchObject({ failure: null });
  });

  it("keeps its earlier records, and a bad sidecar fails its picture", async () => {
    await paintMany(1);
    await ingest();
    for (const sidecar of ["{", `{"deep":{}}`, `{"kind":"x"}`, Buffer.from([0xff])]) {
      writeFileSync(pictures.pathOf("p-000.png.json"), sidecar);
      expect(await ingest()).toMatchObject({ ingested: 0, failed: 1, runs: [] });
      expect(await store.sourceStatus(pictures.pathOf("p-000.png"))).toMatchObject({
        state: "failed",
        reason: expect.any(String),
      });
    }
    expect((await idsOf(store, "images")).length).toBe(1);
  });

  it("what the environment does is no failure of a picture: the ingest ends, and can be repeated", async () => {
    await paintMany(20);
    const { ports } = store.context;
    const unavailable = new SiltError("unavailable", "Cannot store it: the disk is full");
    let puts = 0;
    const full: Ports = {
      ...ports,
      objects: {
        ...ports.objects,
        put: (key, source, options) => {
          puts += key.endsWith(".tar") ? 1 : 0;
          if (puts > 1) return Promise.reject(unavailable);
          return ports.objects.put(key, source, options);
        },
      },
    };
    const failing = ingestPaths(full, [pictures.path], { pipeline: "image" });
    await expect(failing).rejects.toBe(unavailable);
    expect((await idsOf(store, "images")).length).toBe(16);
    expect(await ingest()).toMatchObject({ skipped: 16, ingested: 4, failed: 0 });
  });
});

describe("guards", () => {
  it("a run that a snapshot left out is made good by the next ingest", async () => {
    await paintMany(2);
    const { runs } = await ingest();
    const path = await deltaPath(runs[0]?.runId ?? "");
    chmodSync(path, 0o644);
    writeFileSync(path, Buffer.alloc(readFileSync(path).length));
    await pictures.paint("p-001.png", 9);
    await ingest();
    await store.compact();
    const uri = pictures.uriOf("p-000.png");
    expect(await store.sourceStatus(uri)).toMatchObject({ state: "excluded" });
    expect(await ingest()).toMatchObject({ ingested: 1, skipped: 1 });
    expect(await store.sourceStatus(uri)).toMatchObject({ state: "pending" });
    await store.compact();
    expect(await store.sourceStatus(uri)).toMatchObject({ state: "applied", digest: /./ });
    expect((await idsOf(store, "images")).length).toBe(2);
  });

  it("a source that others ingested between look and commit is not ingested twice", async () => {
    await paintMany(5);
    const other = await temporary.reopen();
    let raced = 0;
    const racing = withCommitHook(store.context.ports, async () => {
      raced += 1;
      if (raced > 1) return;
      await pictures.paint("p-004.png", 77);
      await other.ingest([pictures.pathOf("p-001.png"), pictures.pathOf("p-004.png")], {
        pipeline: "image",
      });
    });
    const report = await ingestPaths(racing, [pictures.path], { pipeline: "image" });
    expect(report).toMatchObject({ total: 5, ingested: 3, skipped: 2, failed: 0 });
    expect((await guardOf("p-001.png"))?.rev).toBe(1);
    expect((await guardOf("p-004.png"))?.rev).toBe(1);
    expect(await ingest()).toMatchObject({ skipped: 5 });
    expect((await idsOf(store, "images")).length).toBe(5);
  });

  it("several ingests at once all succeed, and each picture is there once", async () => {
    await paintMany(24);
    const stores = [store, await temporary.reopen(), await temporary.reopen()];
    const reports = await Promise.all(
      stores.map((each) => each.ingest([pictures.path], { pipeline: "image" })),
    );
    for (const { total, ingested, skipped } of reports) {
      expect([total, ingested + skipped]).toEqual([24, 24]);
    }
    expect(reports.reduce((sum, { ingested }) => sum + ingested, 0)).toBe(24);
    expect((await idsOf(store, "images")).length).toBe(24);
  });

  it("tell whether a picture is unknown, pending, applied or deleted, by path and by URI", async () => {
    await paintMany(3);
    const path = pictures.pathOf("p-000.png");
    const state = async (source = path) => (await store.sourceStatus(source)).state;
    expect(await state()).toBe("unknown");
    await ingest();
    expect(await state()).toBe("pending");
    await store.compact();
    expect(await state()).toBe("applied");
    expect(await state(pictures.uriOf("p-000.png"))).toBe("applied");
    rmSync(path);
    await ingest({ prune: true });
    expect(await store.sourceStatus(path)).toMatchObject({
      state: "deleted",
      digest: null,
      reason: expect.stringContaining("not compacted"),
    });
    await store.compact();
    expect(await store.sourceStatus(path)).not.toHaveProperty("reason");
    expect((await idsOf(store, "images")).length).toBe(2);
  });
});

describe("prune", () => {
  it("deletes what is gone under the folder, in every collection, and nothing else", async () => {
    pictures.example("receipt-kino-cafe.png", "in/receipt.png");
    for (const n of [1, 2, 3]) await pictures.paint(`in/p-${n}.png`, n);
    await pictures.paint("in-other/p.png", 4);
    const inside = join(pictures.path, "in");
    await store.ingest([inside, join(pictures.path, "in-other")]);
    rmSync(pictures.pathOf("in/receipt.png"));
    rmSync(pictures.pathOf("in-other/p.png"));
    expect(await store.ingest([inside])).toMatchObject({ skipped: 3, deleted: 0 });
    expect((await idsOf(store, "words")).length).toBeGreaterThan(0);
    const report = await store.ingest([inside], { prune: true });
    expect(report).toMatchObject({ skipped: 3, deleted: 1, runs: [{}, {}, {}] });
    expect(await idsOf(store, "lines")).toEqual([]);
    expect(await idsOf(store, "words")).toEqual([]);
    expect((await idsOf(store, "images")).length).toBe(4);
    expect(await store.ingest([inside], { prune: true })).toMatchObject({ deleted: 0, runs: [] });
  });

  it("refuses a folder without pictures, and more than half of the known ones unless asked", async () => {
    await paintMany(4);
    await ingest();
    const away = `${pictures.path}-away`;
    renameSync(pictures.path, away);
    try {
      await expect(ingest({ prune: true })).rejects.toThrow("it does not exist");
      mkdirSync(pictures.path);
      await expect(ingest({ prune: true, pruneAnyway: true })).rejects.toMatchObject({
        kind: "invalid",
        message: expect.stringContaining("is a disk missing?"),
      });
    } finally {
      rmSync(pictures.path, { recursive: true, force: true });
      renameSync(away, pictures.path);
    }
    for (const n of [1, 2, 3]) rmSync(pictures.pathOf(`p-00${n}.png`));
    await expect(ingest({ prune: true })).rejects.toThrow(/3 of 4 known pictures.*--yes/);
    expect((await idsOf(store, "images")).length).toBe(4);
    expect(await ingest({ prune: true, pruneAnyway: true })).toMatchObject({ deleted: 3 });
    expect(await idsOf(store, "images")).toEqual([`${pictures.uriOf("p-000.png")}#image`]);
  });

  it("a batch over many shards stays within the 100 items of a transaction", async () => {
    await paintMany(1);
    const names = ["lines", "words", "images"] as const;
    const runs: Guard["runs"] = [];
    for (const collection of names) {
      const embedder = collection === "images" ? "image-descriptor" : "use-lite";
      const { identity } = await store.collection(collection, { embedder, shards: 24 });
      const { storeId } = identity;
      runs.push({ collection, storeId, shard: "0-of-24", runId: "gone", sequence: 1 });
    }
    const gone = Array.from({ length: 20 }, (_, n) => pictures.uriOf(`gone-${n}.png`));
    const { ports } = store.context;
    const guards = gone.map((uri) => ({ expectedRev: 0, next: knownGuard(uri, runs) }));
    await ports.log.commit({ appends: [], guards });
    const sizes: number[] = [];
    const counting = withCommitHook(ports, async ({ appends, guards }) => {
      sizes.push(appends.length * 3 + guards.length);
    });
    const options = { pipeline: "image", prune: true, pruneAnyway: true } as const;
    const report = await ingestPaths(counting, [pictures.path], options);
    expect(report.deleted).toBe(20);
    expect(Math.max(...sizes)).toBeGreaterThan(64);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(100);
  });

  it("leaves alone what another host ingested under the same path", async () => {
    await paintMany(3);
    await ingest();
    const { log } = store.context.ports;
    const guard = await guardOf("p-001.png");
    if (guard === undefined) throw new Error("there is a guard");
    const theirs = { ...guard, rev: 2, root: "another-host:/pictures" };
    await log.commit({ appends: [], guards: [{ expectedRev: 1, next: theirs }] });
    rmSync(pictures.pathOf("p-001.png"));
    expect(await ingest({ prune: true })).toMatchObject({ skipped: 2, deleted: 0 });
    expect((await idsOf(store, "images")).length).toBe(3);
  });
});
