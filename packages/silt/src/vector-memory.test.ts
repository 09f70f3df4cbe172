/** Vectors that find no room in memory are searched from disk, with the same answers. */
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
});
