/** Vectors that find no room in memory are searched from disk, with the same answers. */

import { CollectionReader, VectorMemory } from "@silt/reader";
import { createSeededRandom } from "@silt/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "./open-store.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

const DIMENSION = 64;
const ROWS = 1_000;
/** What the vectors of one collection take at least. */
const ONE_BYTES = DIMENSION * ROWS * 4;
const NAMES = ["left", "right"];

let temporary: TemporaryStore;
beforeEach(async () => {
  temporary = await temporaryStore();
  const random = createSeededRandom(5);
  for (const name of NAMES) {
    const made = await temporary.store.collection(name, { dimension: DIMENSION });
    const embedding = () => Array.from({ length: DIMENSION }, () => random.fraction() - 0.5);
    await made.put(
      Array.from({ length: ROWS }, (_, row) => ({ id: `${row}`, embedding: embedding() })),
    );
  }
  await temporary.store.compact();
});
afterEach(() => temporary[Symbol.asyncDispose]());

async function ask(vectorBytesMax?: number) {
  const location = temporary.store.location;
  await using store = await openStore(location, {
    cacheFolder: `${temporary.folder}/cache`,
    vectorBytesMax,
  });
  const answers = [];
  const left = [];
  for (const name of NAMES) {
    const collection = await store.collection(name);
    const vector = Array.from({ length: DIMENSION }, (_, at) => Math.cos(at));
    answers.push((await collection.query({ vector, k: 20 })).results);
    left.push(store.context.memory.bytesLeft);
    collection[Symbol.dispose]();
  }
  return { answers, left, after: store.context.memory.bytesLeft };
}

describe("the memory for vectors", () => {
  it("is shared by all collections, given back, and what finds none is answered the same", async () => {
    const all = await ask();
    expect(all.answers.map((results) => results.length)).toEqual([20, 20]);
    const enough = 4 * ONE_BYTES;
    const roomy = await ask(enough);
    expect(roomy.left.map((left) => enough - left > ONE_BYTES)).toEqual([true, true]);
    expect(roomy.after).toBe(enough);
    const tight = await ask(ONE_BYTES / 2);
    expect(tight.answers).toEqual(all.answers);
    expect(tight.after).toBe(ONE_BYTES / 2);
    expect(roomy.answers).toEqual(all.answers);
  });

  const SHARDS = 4;
  /** Enough for a vector file of each shard. */
  const FILE_ROWS = 2_100;
  const randomRecords = (rows: number, seed: number, from = 0) => {
    const random = createSeededRandom(seed);
    return Array.from({ length: rows }, (_, row) => ({
      id: `r${from + row}`,
      embedding: Array.from({ length: DIMENSION }, () => random.fraction() - 0.5),
    }));
  };
  const searching = async (reader: CollectionReader) => {
    const views = await reader.views({ searches: true });
    const blocks = views.flatMap(({ layers }) => layers.map((layer) => layer.vectors().block));
    return { blocks, release: () => views.map((view) => view[Symbol.dispose]()) };
  };

  it("is not overrun by shards that open at once in a new process with a warm cache", async () => {
    const { store } = temporary;
    const wide = await store.collection("wide", { dimension: DIMENSION, shards: SHARDS });
    await wide.put(randomRecords(SHARDS * FILE_ROWS * 1.2, 6));
    await store.compact("wide");
    const vector = Array.from({ length: DIMENSION }, (_, at) => Math.cos(at));
    const { results } = await wide.query({ vector, k: 3 });
    const fresh = await temporary.reopen();
    const { identity } = await fresh.collection("wide");
    const enough = 1.6 * FILE_ROWS * 1.2 * DIMENSION * 4;
    const memory = new VectorMemory(enough);
    const { ports, cache } = fresh.context;
    using reader = new CollectionReader(ports, identity, { cache, memory });
    const { blocks, release } = await searching(reader);
    const resident = blocks.filter(({ mode }) => mode === "resident");
    expect([blocks.length, resident.length]).toEqual([SHARDS, 1]);
    const held = resident.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(held).toBeLessThanOrEqual(enough);
    expect((await wide.query({ vector, k: 3 })).results).toEqual(results);
    release();
  });

  it("holds once what two versions share, and loads what found no room when there is some", async () => {
    const { store } = temporary;
    const grown = await store.collection("grown", { dimension: DIMENSION });
    // Large enough that a later merge leaves it alone.
    for (let from = 0; from < 36_000; from += 9_000) {
      await grown.put(randomRecords(9_000, from + 1, from));
    }
    await store.compact("grown");
    const { ports, cache } = store.context;
    const one = 36_000 * DIMENSION * 4;
    const memory = new VectorMemory(1.6 * one);
    using reader = new CollectionReader(ports, grown.identity, { cache, memory });
    const before = await searching(reader);
    await grown.put(randomRecords(10, 3, 99_000));
    await store.compact("grown");
    const after = await searching(reader);
    expect(after.blocks[0]).toBe(before.blocks[0]);
    expect(after.blocks.map(({ mode }) => mode)).toEqual(["resident", "resident"]);

    const other = new VectorMemory(1.6 * one);
    const room = other.hold("something else", 2 * one, () => ({
      block: before.blocks[0] as (typeof before.blocks)[0],
      rowids: [],
    }));
    using second = new CollectionReader(ports, grown.identity, { cache, memory: other });
    const crowded = await searching(second);
    expect(crowded.blocks[0]?.mode).toBe("windowed");
    room?.[Symbol.dispose]();
    const roomy = await searching(second);
    expect(roomy.blocks[0]?.mode).toBe("resident");
    for (const { release } of [before, after, crowded, roomy]) release();
  });
});
