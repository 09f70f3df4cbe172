import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Collection } from "./collection.ts";
import { onlySegment } from "./stored-segment.fixture.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

let temporary: TemporaryStore;
let notes: Collection;
beforeEach(async () => {
  temporary = await temporaryStore();
  notes = await temporary.store.collection("notes", { dimension: 2 });
});
afterEach(() => temporary[Symbol.asyncDispose]());

const record = (id: string, x = 1, y = 1) => ({ id, embedding: [x, y] });

describe("Collection", () => {
  it("F63 put() is seen at once by a fresh read of another handle", async () => {
    const { runs, acknowledged } = await notes.put([record("a")]);
    expect(acknowledged).toBe(1);
    expect(runs).toMatchObject([{ shard: "0-of-1", sequence: 1, records: 1 }]);
    const other = await (await temporary.reopen()).collection("notes");
    const stale = await other.get({ ids: ["a"] });
    expect(stale).toMatchObject({ version: 0, appliedThrough: 0, behind: 1, records: [] });
    const fresh = await other.get({ ids: ["a"], fresh: true });
    expect(fresh).toMatchObject({ version: 0, behind: 0, records: [{ id: "a" }] });
  });

  it("F67 replace() with fewer children leaves no old ones, before and after compaction", async () => {
    const children = (count: number) =>
      Array.from({ length: count }, (_, index) => record(`page#${index + 1}`));
    await notes.replace("page", children(10));
    await temporary.store.compact();
    await notes.replace("page", children(6));
    const ids = async (fresh: boolean) =>
      (await notes.get({ parent: "page", fresh })).records.map(({ id }) => id);
    const six = children(6).map(({ id }) => id);
    expect(await ids(true)).toEqual(six);
    await temporary.store.compact();
    expect(await ids(false)).toEqual(six);
    expect((await notes.query({ vector: [1, 1], k: 20 })).results).toHaveLength(6);
  });

  it("put() refuses all of a call when one record is bad", async () => {
    await expect(notes.put([record("a"), record("b", 0, 0)])).rejects.toThrow(/zero vector/);
    await expect(notes.put([record("a"), record("a", 2)])).rejects.toThrow(/repeats an earlier id/);
    expect((await temporary.store.status())[0]?.shards[0]?.head).toBe(0);
  });

  it("query() orders equal distances by id, whatever lies in which segment", async () => {
    for (const id of ["d", "b", "c", "a"]) {
      await notes.put([record(id)]);
      await temporary.store.compact();
    }
    await notes.put([record("0")]);
    const { results } = await notes.query({ vector: [1, 1], k: 3, fresh: true });
    expect(results.map(({ id }) => id)).toEqual(["0", "a", "b"]);
  });

  it("query() filters after resolving: a patch decides, not what it patched", async () => {
    await notes.put([{ ...record("a"), metadata: { shop: "Kino" }, document: "tea" }]);
    await temporary.store.compact();
    await notes.patch([{ id: "a", metadata: { shop: "Velo" }, document: "coffee" }]);
    const find = async (shop: string, text: string) =>
      (
        await notes.query({
          vector: [1, 0],
          where: { shop },
          whereDocument: { $contains: text },
          fresh: true,
        })
      ).results.length;
    expect(await find("Kino", "tea")).toBe(0);
    expect(await find("Velo", "coffee")).toBe(1);
  });

  it("F68 query() and get() warn of a where key that no record has", async () => {
    await notes.put([{ ...record("a"), metadata: { shop: "Kino" } }]);
    await temporary.store.compact();
    const wrong = await notes.query({ vector: [1, 0], where: { shopp: "Kino" } });
    expect(wrong.warnings).toEqual([expect.stringMatching(/metadata key "shopp"/)]);
    const right = await notes.query({ vector: [1, 0], where: { shop: "nowhere" } });
    expect(right.warnings).toEqual([]);
    expect((await notes.get({ where: { nope: 1 } })).warnings).toHaveLength(1);
  });

  it("delete() by filter sees what is pending, and only what matches", async () => {
    await notes.put([
      { ...record("old"), metadata: { draft: true } },
      { ...record("kept"), metadata: { draft: true } },
    ]);
    await temporary.store.compact();
    await notes.put([{ ...record("new"), metadata: { draft: true } }]);
    await notes.patch([{ id: "kept", metadata: { draft: null } }]);
    const { acknowledged } = await notes.delete({ where: { draft: true } });
    expect(acknowledged).toBe(2);
    expect((await notes.get({ fresh: true })).records.map(({ id }) => id)).toEqual(["kept"]);
    expect((await notes.delete({ where: { draft: true } })).runs).toEqual([]);
  });

  it("F42 readers and idle compactions leave nothing behind", async () => {
    await notes.put([record("a")]);
    await temporary.store.compact();
    const { ports } = temporary.store.context;
    const stored = async () => [
      await ports.objects.list("", { limit: 9_999 }),
      await temporary.store.status("notes").then(([one]) => one?.shards[0]?.version),
    ];
    const before = await stored();
    for (let turn = 0; turn < 3; turn++) {
      await notes.query({ vector: [1, 1], fresh: true });
      await notes.get({ where: { x: 1 } });
      expect((await temporary.store.compact())[0]?.outcome).toBe("nothing-to-do");
    }
    expect(await stored()).toEqual(before);
    expect(readdirSync(temporary.store.context.tempRoot())).toEqual([]);
  });

  it("F26 delete() then put() lives, put() then delete() is gone, across compactions", async () => {
    await notes.put([record("a"), record("b")]);
    await temporary.store.compact();
    await notes.delete({ id: ["a", "b"] });
    await temporary.store.compact();
    await notes.put([record("a", 5)]);
    const ids = async (fresh: boolean) => (await notes.get({ fresh })).records.map(({ id }) => id);
    expect(await ids(true)).toEqual(["a"]);
    await temporary.store.compact();
    expect(await ids(false)).toEqual(["a"]);
  });

  it("embeds documents itself, and refuses a query that its embedder cannot make", async () => {
    const texts = await temporary.store.collection("texts", { embedder: "use-lite" });
    expect(texts.dimension).toBe(512);
    await texts.put([
      { id: "coffee", document: "two cups of coffee" },
      { id: "bicycle", document: "a bicycle repair shop" },
    ]);
    const { results } = await texts.query({ text: "espresso and cappuccino", k: 2, fresh: true });
    expect(results.map(({ id }) => id)).toEqual(["coffee", "bicycle"]);
    await expect(texts.put([{ id: "x" }])).rejects.toThrow(/neither "embedding" nor "document"/);
    await expect(texts.query({ image: new Uint8Array(8) })).rejects.toThrow(/takes text only/);
    await expect(
      temporary.store.collection("texts", { embedder: "image-descriptor" }),
    ).rejects.toThrow(/embedder.*never changes/);
  });
});

describe("Store.export()", () => {
  it("writes one file that the stock sqlite3 reads, and JSON Lines that put() takes", async () => {
    const sharded = await temporary.store.collection("sharded", { dimension: 2, shards: 4 });
    const records = Array.from({ length: 50 }, (_, index) => ({
      ...record(`r${index}`, index + 1),
      document: `text ${index}`,
      metadata: { index },
    }));
    await sharded.put(records);
    await temporary.store.compact();
    const sqlite = join(temporary.folder, "out.sqlite");
    const report = await temporary.store.export("sharded", { sqlite });
    expect(report).toMatchObject({ collection: "sharded", records: 50, file: sqlite });
    const db = new Database(sqlite, { readonly: true });
    expect(db.pragma("integrity_check", { simple: true })).toBe("ok");
    expect(db.prepare("SELECT COUNT(*) FROM rows WHERE operation = 'put'").pluck().get()).toBe(50);
    db.close();
    await expect(temporary.store.export("sharded", { sqlite })).rejects.toThrow(/it exists/);

    const jsonl = join(temporary.folder, "out.jsonl");
    await temporary.store.export("sharded", { jsonl });
    const lines = readFileSync(jsonl, "utf8").trimEnd().split("\n");
    const copy = await temporary.store.collection("copy", { dimension: 2 });
    await copy.put(lines.map((line) => JSON.parse(line)));
    const all = async (from: Collection) =>
      (await from.get({ fresh: true, embeddings: true })).records;
    expect(await all(copy)).toEqual(await all(sharded));
  });

  it("leaves no file when it fails", async () => {
    const file = join(temporary.folder, "no", "such", "folder.sqlite");
    await expect(temporary.store.export("notes", { sqlite: file })).rejects.toThrow(/Cannot/);
    expect(existsSync(file)).toBe(false);
  });
});

describe("segments", () => {
  it("open with the stock sqlite3 command, which finds them sound", async () => {
    await notes.put([{ ...record("a"), document: "hello" }]);
    await temporary.store.compact();
    const path = join(temporary.folder, "segment.sqlite");
    writeFileSync(path, (await onlySegment(temporary.location)).bytes);
    const ask = (sql: string) =>
      execFileSync("sqlite3", ["-readonly", path, sql], { encoding: "utf8" }).trim();
    expect(ask("PRAGMA integrity_check")).toBe("ok");
    expect(ask("SELECT id, document, length(embedding) FROM rows")).toBe("a|hello|8");
  });
});
