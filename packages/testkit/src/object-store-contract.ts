import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ObjectStore, type PutCondition, type PutOutcome, sha256Of } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSeededRandom } from "./seeded-random.ts";

export interface OpenedObjectStore {
  readonly store: ObjectStore;
  dispose(): Promise<void>;
}

const WRITERS = 100;
const BIG_BYTES = 5 * 1024 * 1024 + 17;
const bytesOf = (text: string) => new TextEncoder().encode(text);

async function textOf(store: ObjectStore, key: string): Promise<string | undefined> {
  const found = await store.get(key, { bytesMax: 1_000 });
  return found.outcome === "found" ? new TextDecoder().decode(found.bytes) : undefined;
}

async function readWhole(store: ObjectStore, key: string): Promise<Buffer | undefined> {
  const found = await store.read(key);
  if (found.outcome === "absent") return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of found.body) chunks.push(chunk);
  const whole = Buffer.concat(chunks);
  expect(whole.byteLength).toBe(found.bytes);
  return whole;
}

function putText(
  store: ObjectStore,
  key: string,
  text: string,
  condition: PutCondition = { ifAbsent: true },
): Promise<PutOutcome> {
  const bytes = bytesOf(text);
  const digest = { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  return store.put(key, { kind: "bytes", bytes }, { condition, ...digest });
}

async function etagOf(outcome: Promise<PutOutcome>): Promise<string> {
  const put = await outcome;
  if (put.outcome !== "stored") throw new Error("expected the put to store");
  return put.etag;
}

/** What every ObjectStore must do. `open` gives an empty store. */
export function objectStoreContract(name: string, open: () => Promise<OpenedObjectStore>): void {
  describe(`ObjectStore: ${name}`, () => {
    let opened: OpenedObjectStore;
    let store: ObjectStore;
    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(() => opened.dispose());

    conditionalPuts(() => store);
    verifiedPuts(() => store);
    reads(() => store);
    describe("many objects", () => lists(() => store));
  });
}

function conditionalPuts(store: () => ObjectStore): void {
  it("put() with ifAbsent stores once, and refuses a second time without a change", async () => {
    expect(await putText(store(), "a/one.json", "first")).toMatchObject({ outcome: "stored" });
    const again = await putText(store(), "a/one.json", "second");
    expect(again).toEqual({ outcome: "condition-failed" });
    expect(await textOf(store(), "a/one.json")).toBe("first");
  });

  it("put() with ifAbsent lets exactly one of 100 writers win", async () => {
    const texts = Array.from({ length: WRITERS }, (_, writer) => `writer ${writer}`);
    const puts = await Promise.all(texts.map((text) => putText(store(), "a/one.json", text)));
    const winners = texts.filter((_, writer) => puts[writer]?.outcome === "stored");
    expect(winners).toHaveLength(1);
    expect(await textOf(store(), "a/one.json")).toBe(winners[0]);
  });

  it("put() with ifMatch replaces the object that has the ETag", async () => {
    const etag = await etagOf(putText(store(), "a/pointer.json", "0"));
    const next = await etagOf(putText(store(), "a/pointer.json", "1", { ifMatch: etag }));
    expect(next).not.toBe(etag);
    const found = await store().get("a/pointer.json", { bytesMax: 10 });
    expect(found).toMatchObject({ outcome: "found", etag: next });
    expect(await textOf(store(), "a/pointer.json")).toBe("1");
  });

  it("put() with ifMatch lets exactly one of 100 writers win", async () => {
    const etag = await etagOf(putText(store(), "a/pointer.json", "base"));
    const texts = Array.from({ length: WRITERS }, (_, writer) => `writer ${writer}`);
    const puts = await Promise.all(
      texts.map((text) => putText(store(), "a/pointer.json", text, { ifMatch: etag })),
    );
    const winners = texts.filter((_, writer) => puts[writer]?.outcome === "stored");
    expect(winners).toHaveLength(1);
    expect(await textOf(store(), "a/pointer.json")).toBe(winners[0]);
  });

  it("F6 F7 put() with ifMatch refuses an older ETag, an absent key and a deleted one", async () => {
    const old = await etagOf(putText(store(), "a/pointer.json", "0"));
    const now = await etagOf(putText(store(), "a/pointer.json", "1", { ifMatch: old }));
    const refused = { outcome: "condition-failed" };
    expect(await putText(store(), "a/pointer.json", "2", { ifMatch: old })).toEqual(refused);
    expect(await textOf(store(), "a/pointer.json")).toBe("1");
    expect(await putText(store(), "a/absent.json", "2", { ifMatch: now })).toEqual(refused);
    expect(await textOf(store(), "a/absent.json")).toBeUndefined();
    await store().delete("a/pointer.json");
    expect(await putText(store(), "a/pointer.json", "2", { ifMatch: now })).toEqual(refused);
    expect(await textOf(store(), "a/pointer.json")).toBeUndefined();
  });
}

function verifiedPuts(store: () => ObjectStore): void {
  const bytes = bytesOf("content");
  const condition = { ifAbsent: true } as const;

  it("F31 put() refuses bytes with another SHA-256 and stores nothing", async () => {
    const wrong = { condition, bytes: bytes.byteLength, sha256: sha256Of("other") };
    const put = store().put("a/x.bin", { kind: "bytes", bytes }, wrong);
    await expect(put).rejects.toMatchObject({ name: "SiltError", kind: "corrupt" });
    expect(await store().head("a/x.bin")).toEqual({ outcome: "absent" });
    expect(await store().list("", { limit: 10 })).toEqual([]);
  });

  it("put() with ifMatch refuses bytes with another SHA-256 and keeps the object", async () => {
    const etag = await etagOf(putText(store(), "a/x.bin", "kept"));
    const wrong = { bytes: bytes.byteLength, sha256: sha256Of("other") };
    const options = { condition: { ifMatch: etag }, ...wrong };
    const put = store().put("a/x.bin", { kind: "bytes", bytes }, options);
    await expect(put).rejects.toMatchObject({ name: "SiltError", kind: "corrupt" });
    expect(await textOf(store(), "a/x.bin")).toBe("kept");
  });

  it("put() stores a file of 5 MB, and refuses it under another hash or length", async () => {
    const folder = await mkdtemp(join(tmpdir(), "silt-contract-"));
    try {
      const big = createSeededRandom(7).bytes(BIG_BYTES);
      const sha256 = sha256Of(big);
      const path = join(folder, "big.bin");
      await writeFile(path, big);
      const source = { kind: "file", path } as const;
      const cut = { condition, bytes: BIG_BYTES - 1, sha256 };
      await expect(store().put("a/big.bin", source, cut)).rejects.toMatchObject({
        kind: "corrupt",
      });
      const other = { condition, bytes: BIG_BYTES, sha256: sha256Of("other") };
      await expect(store().put("a/big.bin", source, other)).rejects.toMatchObject({
        kind: "corrupt",
      });
      expect(await store().head("a/big.bin")).toEqual({ outcome: "absent" });

      const right = { condition, bytes: BIG_BYTES, sha256 };
      expect(await store().put("a/big.bin", source, right)).toMatchObject({ outcome: "stored" });
      await rm(path);
      const whole = await readWhole(store(), "a/big.bin");
      expect(whole && sha256Of(whole)).toBe(sha256);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

function reads(store: () => ObjectStore): void {
  it("get(), read(), head() and list() say that an absent object is absent", async () => {
    await putText(store(), "a/there.json", "x");
    for (const key of ["a/missing.json", "b/missing.json", "a", "a/there.json/below"]) {
      expect(await store().get(key, { bytesMax: 10 })).toEqual({ outcome: "absent" });
      expect(await store().read(key)).toEqual({ outcome: "absent" });
      expect(await store().head(key)).toEqual({ outcome: "absent" });
    }
    expect(await store().list("b/", { limit: 10 })).toEqual([]);
  });

  it("get() with the current ETag says unchanged, with another it gives the object", async () => {
    const old = await etagOf(putText(store(), "a/pointer.json", "0"));
    const now = await etagOf(putText(store(), "a/pointer.json", "1", { ifMatch: old }));
    const get = (ifNoneMatch: string) =>
      store().get("a/pointer.json", { bytesMax: 10, ifNoneMatch });
    expect(await get(now)).toEqual({ outcome: "unchanged" });
    expect(await get(old)).toMatchObject({ outcome: "found", etag: now });
  });

  it("get() refuses an object over bytesMax and gives one of exactly that size", async () => {
    await putText(store(), "a/ten.json", "0123456789");
    const short = store().get("a/ten.json", { bytesMax: 9 });
    await expect(short).rejects.toMatchObject({ name: "SiltError", kind: "invalid" });
    expect(await store().get("a/ten.json", { bytesMax: 10 })).toMatchObject({ outcome: "found" });
  });

  it("read() streams 5 MB in several chunks, and may be abandoned", async () => {
    const bytes = createSeededRandom(8).bytes(BIG_BYTES);
    const digest = { bytes: BIG_BYTES, sha256: sha256Of(bytes) };
    const condition = { ifAbsent: true } as const;
    await store().put("a/big.bin", { kind: "bytes", bytes }, { condition, ...digest });
    const abandoned = await store().read("a/big.bin");
    if (abandoned.outcome === "absent") throw new Error("expected the object");
    for await (const chunk of abandoned.body) {
      expect(chunk.byteLength).toBeLessThan(BIG_BYTES);
      break;
    }
    const whole = await readWhole(store(), "a/big.bin");
    expect(whole && sha256Of(whole)).toBe(digest.sha256);
  });

  it("an empty object is found, and empty", async () => {
    await putText(store(), "a/empty.bin", "");
    expect(await store().head("a/empty.bin")).toMatchObject({ outcome: "found", bytes: 0 });
    expect(await textOf(store(), "a/empty.bin")).toBe("");
    expect((await readWhole(store(), "a/empty.bin"))?.byteLength).toBe(0);
  });

  it("delete() removes an object, and an absent one is no error", async () => {
    await putText(store(), "a/b/c.json", "x");
    await putText(store(), "a/other.json", "y");
    await store().delete("a/b/c.json");
    expect(await store().head("a/b/c.json")).toEqual({ outcome: "absent" });
    await store().delete("a/b/c.json");
    await store().delete("never/was.json");
    expect(await textOf(store(), "a/other.json")).toBe("y");
    expect(await putText(store(), "a/b/c.json", "again")).toMatchObject({ outcome: "stored" });
  });
}

function lists(store: () => ObjectStore): void {
  /** In the order of their bytes, which is not the order of a folder tree. */
  const KEYS = ["a-b/1.json", "a.json", "a/1.json", "a/10.json", "a/2/x.json", "a/20", "b/1.json"];
  const keysOf = async (prefix: string, options: { after?: string; limit: number }) =>
    (await store().list(prefix, options)).map(({ key }) => key);

  beforeEach(async () => {
    for (const key of createSeededRandom(3).shuffle(KEYS)) await putText(store(), key, key);
  });

  it("list() gives keys in the order of their bytes, with size and time as head() does", async () => {
    expect(await keysOf("", { limit: 100 })).toEqual(KEYS);
    for (const { key, bytes, modifiedAtMs } of await store().list("", { limit: 100 })) {
      expect(bytes).toBe(key.length);
      expect(await store().head(key)).toEqual({ outcome: "found", bytes, modifiedAtMs });
    }
  });

  it("list() gives only keys under the prefix, which may end inside a name", async () => {
    for (const prefix of ["a", "a/", "a/2", "a/2/", "a/1", "b/1.json", "a-", "c", "a/2/x.jsonx"]) {
      const expected = KEYS.filter((key) => key.startsWith(prefix));
      expect(await keysOf(prefix, { limit: 100 }), prefix).toEqual(expected);
    }
  });

  it("list() pages with after and limit, whatever key a page ends at", async () => {
    for (const prefix of ["", "a", "a/"]) {
      const all = KEYS.filter((key) => key.startsWith(prefix));
      for (let limit = 1; limit <= all.length; limit++) {
        const paged: string[] = [];
        for (;;) {
          const after = paged.at(-1);
          const page = await keysOf(prefix, { limit, ...(after === undefined ? {} : { after }) });
          expect(page.length).toBeLessThanOrEqual(limit);
          if (page.length === 0) break;
          paged.push(...page);
        }
        expect(paged).toEqual(all);
      }
    }
  });

  it("listFolders() names those right under the prefix in which something lies", async () => {
    await putText(store(), "b/gone/1.json", "x");
    await store().delete("b/gone/1.json");
    const folders = { "": ["a", "a-b", "b"], "a/": ["2"], "a/2/": [], "b/": [], "c/": [] };
    for (const [prefix, names] of Object.entries(folders)) {
      expect(await store().listFolders(prefix), prefix).toEqual(names);
    }
  });

  it("list() continues after a key that is not there", async () => {
    for (const after of ["a/15", "a/2", "a/2/", "a0", "a-c", "zz", "a/2/x.json"]) {
      const expected = KEYS.filter((key) => key > after);
      expect(await keysOf("", { after, limit: 100 }), after).toEqual(expected);
    }
  });
}
