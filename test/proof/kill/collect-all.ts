/** The collector, until it finds nothing more: then only what is needed is there. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  type CollectionIdentity,
  collectShard,
  objectsOf,
  openCollection,
  readHistory,
  type ShardRef,
  shardPrefix,
  shardRefs,
} from "@silt/core";
import type { Store } from "../../../packages/silt/src/index.ts";
import { expectThat } from "./role-context.ts";

const PASSES_MAX = 40;
const PAUSE_MS = 200;
const LIST_MAX = 100_000;
/** The pointer, and the collector's own plan. */
const ALWAYS = 2;

/** Collects all shards; throws when objects stay that no version needs and no run waits for. */
export async function collectAll(store: Store): Promise<void> {
  const collectOne = async (name: string) => {
    const opened = await openCollection(store.context.ports, name);
    if (opened === undefined) return;
    const { identity } = opened;
    await Promise.all(shardRefs(identity).map((shard) => collectUntilDone(store, identity, shard)));
  };
  // Side by side, for they mostly wait for the grace to end.
  await Promise.all((await store.collections()).map(collectOne));
}

async function collectUntilDone(
  store: Store,
  identity: CollectionIdentity,
  shard: ShardRef,
): Promise<void> {
  const { ports, holder } = store.context;
  for (let pass = 1; ; pass++) {
    const report = await collectShard(ports, identity, shard, { holder, delete: true });
    const { candidates, deleted, retired } = report;
    // A version that holds the same as a newer one waits, ripe, until the one before it may go.
    const isRest = candidates.every(({ ripe }) => ripe) && deleted.length + retired.length === 0;
    if (isRest) break;
    expectThat(
      pass < PASSES_MAX,
      () =>
        `the collector of ${shard.collection} ${shard.shard} does not end: ${JSON.stringify(candidates)}`,
    );
    await sleep(PAUSE_MS);
  }
  await expectOnlyNeeded(store, shard);
}

/** What kept versions list, and the bundles of runs that the oldest of them has not applied. */
async function expectOnlyNeeded(store: Store, shard: ShardRef): Promise<void> {
  const { ports } = store.context;
  const { versions } = await readHistory(ports, shard);
  const oldest = versions.at(-1)?.manifest.appliedThrough ?? 0;
  const newest = versions[0]?.manifest.appliedThrough ?? 0;
  const needed = objectsOf(versions).size + (newest - oldest) + ALWAYS;
  const listed = await ports.objects.list(shardPrefix(shard), { limit: LIST_MAX });
  expectThat(
    listed.length <= needed,
    () =>
      `${shard.collection} ${shard.shard} has ${listed.length} objects after its collection, expected at most ` +
      `${needed} for ${versions.length} versions: ${listed.map(({ key }) => key).slice(0, 20)}`,
  );
}
