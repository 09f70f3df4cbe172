/**
 * The reckoning: with everybody stopped, what writers' journals hold is replayed, everything is
 * compacted, and each record of each slot is held against what was acknowledged.
 */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Store } from "../../../packages/silt/src/index.ts";
import { collectAll } from "./collect-all.ts";
import { type Growth, measureGrowth } from "./growth.ts";
import { HistoryModel } from "./history-model.ts";
import type { KillRecord } from "./operation.ts";
import { differenceOf } from "./own-records.ts";
import { expectPast, settleDeed } from "./past-shard.ts";
import { expectPictures } from "./picture-check.ts";
import { expectThat } from "./role-context.ts";
import { journalPath, SlotModel } from "./role-journal.ts";
import { bufferedCollection } from "./roles/buffer-role.ts";
import { historyPath } from "./roles/history-role.ts";
import { ingestedFolder } from "./roles/ingest-role.ts";
import { type Digests, digestsOf, writtenRecord } from "./slot-state.ts";
import { SLOTS, writingSlots } from "./slots.ts";
import {
  COLLECTION_NAMES,
  openWorldStore,
  readEpoch,
  SHARDS,
  slotFolder,
  type World,
  writeEpoch,
  writerJournal,
} from "./world.ts";

/** The lease of a killed compactor ends by itself; until then others are busy. */
const SETTLE_ATTEMPTS_MAX = 200;
const SETTLE_PAUSE_MS = 50;

export interface Reckoning {
  /** Records that were acknowledged and are there. */
  readonly records: number;
  /** Operations that were noted in journals since the last reckoning. */
  readonly operations: number;
  /** Cut off by a kill or a failure, and found whole or absent only now. */
  readonly inDoubt: number;
  readonly growth: Growth;
}

/** Throws a `WrongError` that says what is lost, there twice, never written, damaged, or grown. */
export async function settleAndCheck(
  world: World,
  options: { readonly deep: boolean },
): Promise<Reckoning> {
  const cacheFolder = join(world.root, "checker-cache");
  let result: Omit<Reckoning, "growth">;
  {
    await using store = await openWorldStore(world, { create: false, cacheFolder });
    await replayWriters(store, world);
    await finishIngests(store, world);
    await compactAll(store);
    await checkPast(store, world);
    await collectAll(store);
    result = await checkWriters(store, world);
    const { problems } = await store.verify({ deep: options.deep });
    expectThat(problems.length === 0, () => `verify found ${JSON.stringify(problems.slice(0, 5))}`);
  }
  rmSync(cacheFolder, { recursive: true, force: true });
  return { ...result, growth: await measureGrowth(world) };
}

const slotsOf = (role: string) => SLOTS.filter((slot) => slot.role === role);

async function replayWriters(store: Store, world: World): Promise<void> {
  for (const { name } of slotsOf("buffer")) {
    const collection = await store.collection(bufferedCollection(name));
    const writer = await collection.writer({ journal: writerJournal(world, name) });
    await writer[Symbol.asyncDispose]();
  }
}

async function finishIngests(store: Store, world: World): Promise<void> {
  for (const { name } of slotsOf("ingest")) {
    const folder = ingestedFolder(world, name);
    const options = { pipeline: "image", prune: true, pruneAnyway: true } as const;
    const { failures } = await store.ingest([folder], options);
    expectThat(failures.length === 0, () => `an ingest failed: ${JSON.stringify(failures)}`);
    await expectPictures(store, world, folder);
  }
  await expectPictures(store, world, world.pictures);
}

/** The collection that is rolled back has what its one writer knows of. */
async function checkPast(store: Store, world: World): Promise<void> {
  for (const { name } of slotsOf("history")) {
    using model = new HistoryModel(historyPath(world, name));
    await settleDeed(store.context.ports, model);
    await expectPast(store, model);
  }
}

/** Compacts until nothing is pending, a bounded number of times. */
export async function compactAll(store: Store): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const reports = await store.compact();
    for (const { collection, excluded, error } of reports) {
      expectThat(
        excluded.length === 0,
        () => `${collection}: excluded ${JSON.stringify(excluded)}`,
      );
      const kind = error?.kind ?? "unavailable";
      // Where requests take long, the short lease may run out.
      const mayBe = kind === "unavailable" || kind === "fenced";
      expectThat(mayBe, () => `${collection}: ${kind} ${error?.message}`);
    }
    const pending = (await store.status()).flatMap(({ shards }) =>
      shards.filter((shard) => shard.pending > 0),
    );
    if (pending.length === 0) return;
    expectThat(
      attempt < SETTLE_ATTEMPTS_MAX,
      () => `it does not settle: ${JSON.stringify(reports)}`,
    );
    await sleep(SETTLE_PAUSE_MS);
  }
}

const same = (a: Digests, b: Digests) => a.every((digest, shard) => digest === b[shard]);

/** All slots' records are exactly what was acknowledged; then the next epoch begins from them. */
async function checkWriters(store: Store, world: World): Promise<Omit<Reckoning, "growth">> {
  const epoch = readEpoch(world);
  const slots = writingSlots();
  const models = new Map(
    slots.map((slot) => [slot, new SlotModel(journalPath(slotFolder(world, slot), epoch))]),
  );
  const bases = new Map(slots.map((slot) => [slot, {} as Record<string, readonly KillRecord[]>]));
  let records = 0;
  for (const name of COLLECTION_NAMES) {
    const found = await readAll(store, name);
    records += found.length;
    const bySlot = Map.groupBy(found, ({ metadata }) => String(metadata.slot));
    const strangers = [...bySlot.keys()].filter((slot) => !models.has(slot));
    expectThat(strangers.length === 0, () => `${name} has records that nobody wrote: ${strangers}`);
    for (const [slot, model] of models) {
      const own = bySlot.get(slot) ?? [];
      checkSlot(slot, name, model, own);
      (bases.get(slot) as Record<string, readonly KillRecord[]>)[name] = own;
    }
  }
  for (const [slot, model] of models) {
    const base = { base: bases.get(slot), shards: SHARDS, operation: model.last };
    writeFileSync(journalPath(slotFolder(world, slot), epoch + 1), `${JSON.stringify(base)}\n`);
    // Readers that are still in the last epoch may look there once more.
    rmSync(journalPath(slotFolder(world, slot), epoch - 1), { force: true });
  }
  writeEpoch(world, epoch + 1);
  const all = [...models.values()];
  return {
    records,
    operations: all.reduce((sum, model) => sum + model.operations, 0),
    inDoubt: all.filter(({ doubt }) => doubt !== undefined).length,
  };
}

/** The settled snapshot and a fresh read agree, and nothing is pending. */
async function readAll(store: Store, name: string): Promise<readonly KillRecord[]> {
  const collection = await store.collection(name);
  const settled = await collection.get({ embeddings: true });
  const fresh = await collection.get({ embeddings: true, fresh: true });
  expectThat(settled.behind === 0, () => `${name} is ${settled.behind} runs behind after settling`);
  const records = settled.records.map(writtenRecord);
  const shards = SHARDS[name] ?? 1;
  expectThat(
    same(digestsOf(records, shards), digestsOf(fresh.records.map(writtenRecord), shards)),
    () => `${name}: a fresh read differs from the settled snapshot`,
  );
  expectThat(
    new Set(records.map(({ id }) => id)).size === records.length,
    () => `${name} has an id twice`,
  );
  return records;
}

function checkSlot(slot: string, name: string, model: SlotModel, own: readonly KillRecord[]): void {
  const state = model.stateOf(name);
  const digests = digestsOf(own, state.shards);
  const mayLackLast = model.doubt?.collection === name;
  expectThat(
    same(digests, state.last.digests) || (mayLackLast && same(digests, state.beforeLast)),
    () =>
      `${slot} in ${name}: the settled store has not what was acknowledged` +
      `${mayLackLast ? ` (operation ${model.last} in doubt)` : ""}: ${differenceOf(state.records, own)}`,
  );
}
