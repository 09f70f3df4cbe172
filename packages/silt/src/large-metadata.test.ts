/** One write may bring 64 KiB of metadata; what several add up to must neither be lost nor stop a shard. */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Collection } from "./collection.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

let temporary: TemporaryStore;
let notes: Collection;
beforeEach(async () => {
  temporary = await temporaryStore();
  notes = await temporary.store.collection("notes", { dimension: 2 });
});
afterEach(() => temporary[Symbol.asyncDispose]());

const large = (key: string) => ({ [key]: "x".repeat(60_000) });

async function expectAll(fresh: boolean): Promise<void> {
  const { records } = await notes.get({ ids: ["a"], fresh });
  expect(Object.keys(records[0]?.metadata ?? {})).toEqual(["first", "second", "third"]);
}

it("I7 patches of one record that are over 64 KiB together are compacted, and verify", async () => {
  await notes.put([{ id: "a", embedding: [1, 2], metadata: large("first") }]);
  await notes.patch([{ id: "a", metadata: large("second") }]);
  await notes.patch([{ id: "a", metadata: large("third") }]);
  await expectAll(true);
  expect(await temporary.store.compact()).toMatchObject([{ outcome: "flipped" }]);
  await expectAll(false);
  expect(await temporary.store.verify({ deep: true })).toMatchObject({ ok: true });
});

it("I7 a writer that folds them in its buffer can flush them", async () => {
  const writer = await notes.writer();
  await writer.put([{ id: "a", embedding: [1, 2], metadata: large("first") }]);
  await writer.patch([{ id: "a", metadata: large("second") }]);
  await writer.patch([{ id: "a", metadata: large("third") }]);
  await writer[Symbol.asyncDispose]();
  await expectAll(true);
});
