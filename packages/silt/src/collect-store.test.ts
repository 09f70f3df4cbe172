/** The collector of a real store, while other handles on it, as other processes have them, are at work. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Collection } from "./collection.ts";
import type { Store } from "./store.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

let temporary: TemporaryStore;
let store: Store;
let notes: Collection;
/** Versions 1 to 4, each with one record more; all but the newest may go at once. */
beforeEach(async () => {
  temporary = await temporaryStore();
  store = temporary.store;
  notes = await store.collection("notes", { dimension: 2, policy: "single" });
  await store.setPolicy("notes", (policy) => ({
    ...policy,
    retention: { versionsKept: 1, versionsKeptMs: 0, deltasKeptMs: 0, graceMs: 0 },
  }));
  for (const id of ["a", "b", "c", "d"]) {
    await notes.put([{ id, embedding: [1, 1] }]);
    await store.compact();
  }
});
afterEach(() => temporary[Symbol.asyncDispose]());

const objects = () =>
  readdirSync(join(temporary.location, "collections"), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(tar|sqlite|json)$/.test(name) && !name.includes("/plans/"))
    .sort();
const versionsOf = async (from: Store) =>
  (await from.versions("notes"))[0]?.shards[0]?.versions.map(({ version }) => version);
const idsOf = async (collection: Collection, version?: number) =>
  (await collection.get({ version })).records.map(({ id }) => id);

describe("Store.gc()", () => {
  it("I6 a dry run deletes nothing; --delete all that nothing needs, and the store is whole", async () => {
    const before = objects();
    const [plan] = await store.gc();
    expect(plan).toMatchObject({ deleted: [], retired: [], abandoned: 0, fenced: false });
    expect(objects()).toEqual(before);
    const [done] = await store.gc({ delete: true });
    expect(done?.retired).toEqual([0, 1, 2, 3]);
    expect(objects().length).toBe(before.length - (done?.deleted.length ?? 0));
    // Identity, policy, pointer, manifest, segment, and the bundle that shows that the store is well.
    expect(objects().length).toBe(6);
    expect(await idsOf(notes)).toEqual(["a", "b", "c", "d"]);
    expect((await store.verify()).problems).toEqual([]);
    expect((await store.gc({ delete: true }))[0]).toMatchObject({ candidates: [], deleted: [] });
  });

  it("I6 what another process pins between plan and deletion stays, and can be gone back to", async () => {
    await store.gc();
    const other = await temporary.reopen();
    await other.pin("notes", 2, { owner: "audit" });
    await store.gc({ delete: true });
    expect(await versionsOf(other)).toEqual([4, 2]);
    expect(await idsOf(await other.collection("notes"), 2)).toEqual(["a", "b"]);
    await other.rollback("notes", 2);
    await other.unpin("notes", 2, { owner: "audit" });
    await store.gc({ delete: true });
    expect(await versionsOf(other)).toEqual([5]);
    expect(await idsOf(notes)).toEqual(["a", "b"]);
    expect((await store.verify()).problems).toEqual([]);
  });

  it("F38 F43 a reader in the middle of a version that goes reads it to its end", async () => {
    const other = await (await temporary.reopen()).collection("notes");
    const reading = other.records({ version: 3 });
    const first = await reading.next();
    await store.gc({ delete: true });
    expect(await versionsOf(store)).toEqual([4]);
    const rest: string[] = [];
    for await (const { id } of reading) rest.push(id);
    expect([first.value?.id, ...rest]).toEqual(["a", "b", "c"]);
    await expect(other.get({ version: 3 })).rejects.toMatchObject({ kind: "invalid" });
    expect(await idsOf(other)).toEqual(["a", "b", "c", "d"]);
  });

  it("F39 two collectors, a writer and a compactor at once take nothing that is needed", async () => {
    const other = await temporary.reopen();
    const more = await other.collection("notes");
    const work = await Promise.allSettled([
      store.gc({ delete: true }),
      other.gc({ delete: true }),
      more.put([{ id: "e", embedding: [1, 1] }]).then(() => other.compact()),
    ]);
    expect(work.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
    await other.compact();
    await store.gc({ delete: true });
    await store.gc({ delete: true });
    expect(await idsOf(notes)).toEqual(["a", "b", "c", "d", "e"]);
    expect((await store.verify()).problems).toEqual([]);
    expect(objects().length).toBe(6);
  });
});
