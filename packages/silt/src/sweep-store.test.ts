/** The sweep of a real store. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "./store.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

let temporary: TemporaryStore;
let store: Store;
/** Two segments, of which the newer hides a record of the older, and is due to go at once. */
beforeEach(async () => {
  temporary = await temporaryStore();
  store = temporary.store;
  const notes = await store.collection("notes", { dimension: 2 });
  await store.setPolicy("notes", ({ compaction, ...rest }) => ({
    ...rest,
    compaction: { ...compaction, smallBytes: 0, rewriteRatio: 100, tombstoneAgeMs: 0 },
  }));
  await notes.put(Array.from({ length: 10 }, (_, n) => ({ id: `r-${n}`, embedding: [n, 1] })));
  await store.compact();
  await notes.delete({ id: "r-7" });
  await store.compact();
});
afterEach(() => temporary[Symbol.asyncDispose]());

const segments = async () => (await store.status())[0]?.shards[0]?.segments;

describe("Store.sweep()", () => {
  it("F62 finds an idle shard whose deleted data must go, and rewrites it when asked to compact", async () => {
    expect(await segments()).toBe(2);
    expect(await store.sweep()).toMatchObject([{ hinted: true, pending: 0, compacted: null }]);
    expect(await segments()).toBe(2);
    const [swept] = await store.sweep({ compact: true });
    expect(swept).toMatchObject({ hinted: true, version: 3 });
    expect(swept?.compacted).toMatchObject({ outcome: "flipped", rowsOut: 9 });
    expect(await segments()).toBe(1);
    expect(await store.sweep({ compact: true })).toMatchObject([
      { hinted: false, compacted: null },
    ]);
  });
});
