/** The collection that is rolled back, and held against the model of its one writer. */
import {
  isSiltError,
  openCollection,
  type Ports,
  readHistory,
  type ShardRef,
  shardRefs,
} from "@silt/core";
import type { SeededRandom } from "@silt/testkit";
import type { Store } from "../../../packages/silt/src/index.ts";
import { type HistoryModel, isWithin } from "./history-model.ts";
import type { KillRecord } from "./operation.ts";
import { differenceOf } from "./own-records.ts";
import { expectThat } from "./role-context.ts";
import { digestsOf, writtenRecord } from "./slot-state.ts";
import { PAST_COLLECTION } from "./world.ts";

/** Identity, policy and only shard of that collection. */
export async function openPast(ports: Ports) {
  const opened = await openCollection(ports, PAST_COLLECTION);
  if (opened === undefined) throw new Error(`there is no collection ${PAST_COLLECTION}`);
  return { ...opened, shard: shardRefs(opened.identity)[0] as ShardRef };
}

/** Finds out what became of the deed in doubt, by what the store says about it. */
export async function settleDeed(ports: Ports, model: HistoryModel): Promise<boolean | undefined> {
  const { doubt } = model;
  if (doubt === undefined) return undefined;
  const done = await wasDone(ports, doubt);
  model.append({ done });
  return done;
}

async function wasDone(ports: Ports, deed: NonNullable<HistoryModel["doubt"]>): Promise<boolean> {
  const { shard } = await openPast(ports);
  if ("write" in deed) {
    const head = await ports.log.readHead(shard);
    return head?.sequence === deed.sequence;
  }
  const { versions } = await readHistory(ports, shard);
  if ("rollback" in deed) {
    const excluded = versions[0]?.manifest.excluded ?? [];
    return excluded.some(({ reason }) => reason.endsWith(`: ${deed.rollback}`));
  }
  const version = "pin" in deed ? deed.pin : deed.unpin;
  const pins = versions.find(({ ref }) => ref.version === version)?.pins ?? [];
  const isPinned = pins.some(({ owner }) => owner === PIN_OWNER);
  return "pin" in deed ? isPinned : !isPinned;
}

export const PIN_OWNER = "kill-test";

/** A fresh read gives what was written and not rolled back; versions that are held are there. */
export async function expectPast(store: Store, model: HistoryModel): Promise<void> {
  const collection = await store.collection(PAST_COLLECTION);
  const { records, behind } = await collection.get({ fresh: true, embeddings: true });
  expectThat(behind === 0, () => `a fresh read of ${PAST_COLLECTION} is behind`);
  expectSame(
    model.records(),
    records.map(writtenRecord),
    () => `after ${model.sequence} runs and rollbacks of ${JSON.stringify(model.excluded)}`,
  );
  const { ports } = store.context;
  const { versions } = await readHistory(ports, (await openPast(ports)).shard);
  const known = new Set(versions.map(({ ref }) => ref.version));
  const missing = [...model.pinned].filter((version) => !known.has(version));
  expectThat(missing.length === 0, () => `versions ${missing} are pinned, and gone`);
}

/** Any version that is kept gives what its runs were; one that is held is kept. True when one was read. */
export async function expectVersion(
  store: Store,
  model: HistoryModel,
  random: SeededRandom,
): Promise<boolean> {
  const { ports } = store.context;
  const { versions } = await readHistory(ports, (await openPast(ports)).shard);
  const { ref, manifest } = random.pick(versions);
  const { appliedThrough, excluded } = manifest;
  const collection = await store.collection(PAST_COLLECTION);
  try {
    const { records } = await collection.get({ version: ref.version, embeddings: true });
    const expected = model.records(appliedThrough, excluded);
    expectSame(expected, records.map(writtenRecord), () => `in version ${ref.version}`);
    for (const { from } of excluded) {
      expectThat(
        isWithin(from, model.excluded),
        () => `version ${ref.version} excludes run ${from}, which nobody has rolled back`,
      );
    }
    return true;
  } catch (error) {
    if (!isSiltError(error, "invalid") || model.pinned.has(ref.version)) throw error;
    // The collector was faster.
    return false;
  }
}

function expectSame(
  expected: readonly KillRecord[],
  found: readonly KillRecord[],
  when: () => string,
): void {
  expectThat(
    digestsOf(found, 1)[0] === digestsOf(expected, 1)[0],
    () =>
      `${PAST_COLLECTION} differs ${when()}: ` +
      differenceOf(new Map(expected.map((record) => [record.id, record])), found),
  );
}
