/** The changes of a batch as one transaction: their deltas, and their guards. I8 rests on this file. */
import {
  type Guard,
  type GuardUpdate,
  type Ports,
  publishDelta,
  type RegisteredRun,
  type RunDraft,
  registerRuns,
  type SegmentOwner,
  type ShardContent,
  SiltError,
  shardOfKey,
  shardRefs,
} from "@silt/core";
import { createShardBuffers, type ShardBuffers } from "../shard-contents.ts";
import type { IngestTargets } from "./open-targets.ts";
import { collectionChanges, nextGuard, type SourceChange } from "./source-change.ts";

export type RegisterChangesOutcome =
  | { readonly outcome: "registered"; readonly runs: readonly RegisteredRun[] }
  /** Another process was faster with one of the sources; nothing was registered. */
  | { readonly outcome: "guard-moved" };

/** What a transaction of any store can hold; a run takes three of these, a guard one. */
export const TRANSACTION_ITEMS_MAX = 100;
const ITEMS_PER_RUN = 3;
const PUBLISH_ATTEMPTS_MAX = 3;

/** Items of the transaction that registers these changes together. */
export function countItems(changes: readonly SourceChange[], targets: IngestTargets): number {
  const runs = new Set<string>();
  for (const change of changes) {
    for (const { identity } of collectionChanges(change, targets)) {
      runs.add(`${identity.collection}/${shardOfKey(change.file.uri, identity.shards)}`);
    }
  }
  return runs.size * ITEMS_PER_RUN + changes.length;
}

/**
 * Publishes one delta for each shard that the changes touch and registers all of them with all
 * guards, or nothing. The changes are of different sources.
 */
export async function registerChanges(
  ports: Ports,
  targets: IngestTargets,
  changes: readonly SourceChange[],
): Promise<RegisterChangesOutcome> {
  const source = changes.length === 1 ? (changes[0]?.file.uri ?? null) : null;
  for (let attempt = 1; ; attempt++) {
    const drafts = await publish(ports, targets, changes, source);
    const at = new Date(ports.clock.nowMs()).toISOString();
    const outcome = await registerRuns(ports, drafts, {
      guards: (runs) => changes.map((change) => guardUpdate(change, targets, runs, at)),
    });
    if (outcome.outcome === "registered") return outcome;
    if (outcome.outcome === "guard-moved") return { outcome: "guard-moved" };
    // We slept so long that the collector gave the bundles up: again, under new run ids.
    if (attempt < PUBLISH_ATTEMPTS_MAX) continue;
    throw new SiltError(
      "unavailable",
      `Cannot register ${changes.length} pictures: the collector gave their runs up ${PUBLISH_ATTEMPTS_MAX} times; try again`,
    );
  }
}

async function publish(
  ports: Ports,
  targets: IngestTargets,
  changes: readonly SourceChange[],
  source: string | null,
): Promise<readonly RunDraft[]> {
  const drafts: RunDraft[] = [];
  await using workbench = await ports.engine.openWorkbench();
  for (const [owner, { content }] of gather(targets, changes)) {
    drafts.push(await publishDelta(ports, workbench, owner, content, { source }));
  }
  return drafts;
}

function gather(
  targets: IngestTargets,
  changes: readonly SourceChange[],
): readonly (readonly [SegmentOwner, ShardContent])[] {
  const buffers = new Map<string, ShardBuffers>();
  for (const change of changes) {
    for (const { identity, rows } of collectionChanges(change, targets)) {
      const buffer = buffers.get(identity.collection) ?? createShardBuffers(identity);
      buffers.set(identity.collection, buffer);
      buffer.replace(change.file.uri);
      for (const row of rows) buffer.add(row);
    }
  }
  return [...targets.collections].flatMap(([name, identity]) => {
    const contents = buffers.get(name)?.take() ?? [];
    return contents.map((content) => {
      const ref = shardRefs(identity).find(({ shard }) => shard === content.shard);
      if (ref === undefined) throw new SiltError("internal", `There is no shard ${content.shard}`);
      return [{ ...ref, vectors: identity.vectors }, content] as const;
    });
  });
}

function guardUpdate(
  change: SourceChange,
  targets: IngestTargets,
  registered: readonly RegisteredRun[],
  at: string,
): GuardUpdate {
  const runs: Guard["runs"] = collectionChanges(change, targets).map(({ identity }) => {
    const { collection, storeId } = identity;
    const shard = shardOfKey(change.file.uri, identity.shards);
    const run = registered.find((each) => each.collection === collection && each.shard === shard);
    if (run === undefined) throw new SiltError("internal", `No run for ${collection} ${shard}`);
    return { collection, storeId, shard, runId: run.runId, sequence: run.sequence };
  });
  const next = nextGuard(change, targets.pipelineId, runs, at);
  return { expectedRev: change.guard?.rev ?? 0, next };
}
