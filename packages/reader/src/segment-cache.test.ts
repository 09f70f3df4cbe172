import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type CollectionIdentity,
  compactShard,
  createDeltaBuffer,
  encodeEmbedding,
  ensureCollection,
  isSiltError,
  type ObjectStore,
  type Policy,
  type Ports,
  readManifest,
  readPointer,
  type SegmentDescriptor,
  type ShardRef,
  sha256Of,
  shardRefs,
  writeDeltas,
} from "@silt/core";
import { createSegmentEngine } from "@silt/segment";
import { createMemoryPorts, type MemoryObjectStore, silentLogger } from "@silt/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CollectionReader } from "./collection-reader.ts";
import { SegmentCache } from "./segment-cache.ts";

let folder: string;
let ports: Ports & { readonly objects: MemoryObjectStore };
let engine: ReturnType<typeof createSegmentEngine>;
let identity: CollectionIdentity;
let policy: Policy;
let shard: ShardRef;
const cacheFolder = () => join(folder, "cache");
const newCache = (bytesMax?: number) =>
  new SegmentCache({
    folder: cacheFolder(),
    logger: silentLogger,
    ...(bytesMax !== undefined && { bytesMax }),
  });
const newReader = (cache = newCache(), objects: ObjectStore = ports.objects) =>
  new CollectionReader({ ...ports, objects }, identity, { cache });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "silt-cache-"));
  engine = createSegmentEngine({ logger: silentLogger, tempRoot: folder });
  ports = createMemoryPorts({ engine });
  ({ identity, policy } = await ensureCollection(ports, "notes", { dimension: 2 }));
  shard = shardRefs(identity)[0] as ShardRef;
});
afterEach(async () => {
  await engine[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function putAndCompact(...ids: string[]): Promise<void> {
  const buffer = createDeltaBuffer();
  for (const id of ids) {
    const embedding = encodeEmbedding([1, ids.length]);
    buffer.add({
      operation: "put",
      id,
      parent: null,
      embedding,
      document: null,
      metadata: {},
      sequence: 0,
    });
  }
  await writeDeltas(ports, identity, [
    { shard: shard.shard, content: buffer.content(), bytes: buffer.bytes },
  ]);
  await compactShard(ports, identity, policy, shard, { holder: "test" });
}

async function currentSegment(): Promise<SegmentDescriptor> {
  const { pointer } = await readPointer(ports.objects, shard);
  const manifest = await readManifest(ports.objects, pointer);
  return manifest.segments[0] as SegmentDescriptor;
}

async function idsBy(reader: CollectionReader): Promise<readonly string[]> {
  const { records } = await reader.records({});
  return records.map(({ id }) => id);
}

const cachedFiles = () => readdirSync(cacheFolder()).sort();
const flipByte = (path: string, at: number) => {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] as number) ^ 1;
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
};

describe("SegmentCache", () => {
  it("F46 puts a cached file that rotted aside and fetches it again", async () => {
    await putAndCompact("a");
    using first = newReader();
    expect(await idsBy(first)).toEqual(["a"]);
    const { sha256 } = (await currentSegment()).object;
    const path = join(cacheFolder(), `${sha256}.sqlite`);
    flipByte(path, statSync(path).size - 100);
    using second = newReader();
    expect(await idsBy(second)).toEqual(["a"]);
    expect(cachedFiles()).toEqual([`${sha256}.sqlite`, `${sha256}.sqlite.bad`]);
  });

  it("I1 F31 refuses a segment that rotted in the store, and never answers from it", async () => {
    await putAndCompact("a");
    const { object } = await currentSegment();
    const found = await ports.objects.get(object.key, { bytesMax: 1e9 });
    if (found.outcome !== "found") throw new Error("no segment");
    const rotten = Uint8Array.from(found.bytes);
    rotten[rotten.length - 100] = (rotten[rotten.length - 100] as number) ^ 1;
    await ports.objects.delete(object.key);
    await ports.objects.put(
      object.key,
      { kind: "bytes", bytes: rotten },
      { condition: { ifAbsent: true }, bytes: rotten.length, sha256: sha256Of(rotten) },
    );
    using reader = newReader();
    const failure = await idsBy(reader).catch((error: unknown) => error);
    expect(isSiltError(failure, "corrupt")).toBe(true);
    expect(String(failure)).toContain(object.key);
  });

  it("F45 a download that breaks off never appears under the segment's name", async () => {
    await putAndCompact("a");
    const broken: ObjectStore = {
      ...ports.objects,
      async read(key) {
        const found = await ports.objects.read(key);
        if (found.outcome === "absent" || !key.endsWith(".sqlite")) return found;
        async function* half() {
          for await (const chunk of (found as { body: AsyncIterable<Uint8Array> }).body) {
            yield chunk.subarray(0, chunk.length / 2);
            throw new Error("connection lost");
          }
        }
        return { ...found, body: half() };
      },
    };
    using reader = newReader(newCache(), broken);
    await expect(idsBy(reader)).rejects.toThrow(/connection lost/);
    expect(cachedFiles()).toEqual([]);
    using other = newReader();
    expect(await idsBy(other)).toEqual(["a"]);
  });

  it("F45 two readers that fetch the same segment at once share one whole file", async () => {
    await putAndCompact("a", "b");
    using first = newReader();
    using second = newReader();
    expect(await Promise.all([idsBy(first), idsBy(second)])).toEqual([
      ["a", "b"],
      ["a", "b"],
    ]);
    expect(cachedFiles()).toHaveLength(1);
  });

  it("F43 starts again from the new pointer when its version was collected meanwhile", async () => {
    await putAndCompact("a");
    let collected = false;
    const collecting: ObjectStore = {
      ...ports.objects,
      async read(key) {
        if (!collected && key.endsWith(".sqlite")) {
          collected = true;
          const old = await currentSegment();
          await putAndCompact("b");
          await ports.objects.delete(old.object.key);
        }
        return ports.objects.read(key);
      },
    };
    using reader = newReader(newCache(), collecting);
    expect(await idsBy(reader)).toEqual(["a", "b"]);
    expect(collected).toBe(true);
  });

  it("F8 gives up on a current version that stays incomplete, instead of answering nothing", async () => {
    await putAndCompact("a");
    await ports.objects.delete((await currentSegment()).object.key);
    using reader = newReader();
    const failure = await idsBy(reader).catch((error: unknown) => error);
    expect(isSiltError(failure, "corrupt")).toBe(true);
    expect(String(failure)).toMatch(/current version is incomplete/);
  });

  it("F44 a warm reader sees each new version, and asks for nothing when nothing is new", async () => {
    await putAndCompact("a");
    const gets: string[] = [];
    const counting: ObjectStore = {
      ...ports.objects,
      get: (key, options) => {
        gets.push(key);
        return ports.objects.get(key, options);
      },
      read: (key) => {
        gets.push(key);
        return ports.objects.read(key);
      },
    };
    using reader = newReader(newCache(), counting);
    expect(await idsBy(reader)).toEqual(["a"]);
    gets.length = 0;
    expect(await idsBy(reader)).toEqual(["a"]);
    expect(gets).toEqual([expect.stringMatching(/latest-pointer\.json$/)]);
    await putAndCompact("b");
    expect(await idsBy(reader)).toEqual(["a", "b"]);
  });

  it("goes on answering from a version while another is opened", async () => {
    await putAndCompact("a");
    using reader = newReader();
    const [view] = await reader.views();
    await putAndCompact("b");
    expect(await idsBy(reader)).toEqual(["a", "b"]);
    expect(view?.layers[0]?.row("a")?.operation).toBe("put");
    view?.[Symbol.dispose]();
    expect(() => view?.layers[0]?.row("a")).toThrow();
  });

  it("removes what was not used for longest when the folder is full", async () => {
    await putAndCompact("a");
    const cache = newCache(1);
    using reader = newReader(cache);
    expect(await idsBy(reader)).toEqual(["a"]);
    const [old] = cachedFiles();
    await putAndCompact("b");
    expect(await idsBy(reader)).toEqual(["a", "b"]);
    expect(cachedFiles()).toHaveLength(1);
    expect(cachedFiles()).not.toContain(old);
  });

  it("says what to do when its folder cannot be made", async () => {
    await putAndCompact("a");
    mkdirSync(folder, { recursive: true });
    writeFileSync(cacheFolder(), "a file, not a folder");
    using reader = newReader();
    const failure = await idsBy(reader).catch((error: unknown) => error);
    expect(isSiltError(failure, "unavailable")).toBe(true);
    expect(existsSync(cacheFolder())).toBe(true);
  });
});
