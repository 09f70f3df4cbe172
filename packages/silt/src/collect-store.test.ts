/** The collector of a real store, while other handles on it, as other processes have them, are at work. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { ObjectStore, SiltError } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GcReport } from "./collect-store.ts";
import type { Collection } from "./collection.ts";
import { Store } from "./store.ts";
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
/** The store with other objects. */
function storeWith(watched: ObjectStore): Store {
  const { context, location } = store;
  const ports = { ...context.ports, objects: watched };
  return new Store({ ...context, ports }, location, new AsyncDisposableStack());
}
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

  it("told to end after the first deletion it says what is gone, and the next pass goes on", async () => {
    const before = objects();
    const deadline = new AbortController();
    const { ports } = store.context;
    const watched = {
      ...ports.objects,
      async delete(key: string) {
        await ports.objects.delete(key);
        if (!key.includes("/plans/")) deadline.abort(new Error("interrupted"));
      },
    };
    const { signal } = deadline;
    const ended = await storeWith(watched)
      .gc({ delete: true, signal })
      .then(
        () => expect.unreachable(),
        (error: SiltError) => error,
      );
    const gone = before.filter((name) => !objects().includes(name));
    expect(gone).toHaveLength(1);
    expect(ended).toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("it deleted 1 object and gave up 4 versions"),
      cause: signal.reason,
      details: { shards: [{ collection: "notes", shard: "0-of-1", retired: [0, 1, 2, 3] }] },
    });
    const reports = ended.details?.shards as readonly GcReport[];
    expect(reports[0]?.deleted).toMatchObject([
      { key: expect.stringContaining(gone[0] as string) },
    ]);
    await store.gc({ delete: true });
    expect(objects().length).toBe(6);
    expect((await store.verify()).problems).toEqual([]);
  });

  it("told to end before anything is gone it ends with the signal's reason", async () => {
    const before = objects();
    const reason = new Error("interrupted");
    await expect(store.gc({ delete: true, signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    expect(objects()).toEqual(before);
  });
});
