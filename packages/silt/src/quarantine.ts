/** Excluded runs: listing them, and submitting one again for what was not written since. */
import {
  type CollectionIdentity,
  type Exclusion,
  listCollections,
  openCollection,
  type Ports,
  readCurrent,
  retryExcluded,
  type ShardRef,
  SiltError,
  shardRefs,
  type TouchedRecords,
} from "@silt/core";
import {
  type CollectionReader,
  lastTouched,
  recordsOfParent,
  resolveRecord,
  type ShardView,
} from "@silt/reader";
import type { AcknowledgedRun } from "./acknowledgement.ts";

/** A run that snapshots leave out. */
export interface QuarantinedRun {
  readonly collection: string;
  readonly shard: string;
  readonly sequence: number;
  readonly runId: string;
  readonly reason: string;
  readonly excludedAt: string;
  /** The run that brought it back; null while its data is missing. */
  readonly retriedBy: string | null;
  readonly records: number;
  readonly source: string | null;
  /** The bundle's key. */
  readonly object: string;
}

export interface RetryReport {
  readonly collection: string;
  readonly run: AcknowledgedRun;
  /** Operations that were left out, for their ids were written since. */
  readonly skipped: number;
}

/** Excluded runs of all collections, oldest first in each shard. */
export async function listQuarantine(ports: Ports): Promise<readonly QuarantinedRun[]> {
  const found: QuarantinedRun[] = [];
  for (const name of await listCollections(ports)) {
    const opened = await openCollection(ports, name);
    if (opened === undefined) continue;
    for (const shard of shardRefs(opened.identity)) {
      const { manifest } = await readCurrent(ports.objects, shard);
      // What a rollback has undone was sound; it is written again, never retried.
      for (const exclusion of manifest.excluded.filter(({ cause }) => cause === "poison")) {
        found.push(...(await runsOf(ports, shard, exclusion)));
      }
    }
  }
  return found;
}

async function runsOf(
  ports: Ports,
  shard: ShardRef,
  exclusion: Exclusion,
): Promise<readonly QuarantinedRun[]> {
  const { from, to, reason, excludedAt, retriedBy } = exclusion;
  const runs = await ports.log.readRuns(shard, { after: from - 1, limit: to - from + 1 });
  return runs.map((run) => ({
    collection: shard.collection,
    shard: shard.shard,
    sequence: run.sequence,
    runId: run.runId,
    reason,
    excludedAt,
    retriedBy,
    records: run.rows.put + run.rows.patch + run.rows.delete,
    source: run.source,
    object: run.delta.key,
  }));
}

/**
 * Submits an excluded run again as a new run: {@link retryExcluded}, over what the reader sees. Throws
 * `invalid` when it came back already, `corrupt` when its bundle still is unsound.
 */
export async function retryQuarantined(
  ports: Ports,
  identity: CollectionIdentity,
  reader: CollectionReader,
  { runId, retriedBy, sequence, shard: name }: QuarantinedRun,
): Promise<RetryReport> {
  if (retriedBy !== null) {
    throw new SiltError(
      "invalid",
      `Cannot retry run "${runId}": it came back as run "${retriedBy}" already`,
    );
  }
  const shard = shardRefs(identity).find((ref) => ref.shard === name) as ShardRef;
  const { collection } = identity;
  const scope = { view: () => viewOf(reader, name), touched: touchedIn };
  return { collection, ...(await retryExcluded(ports, identity, shard, sequence, scope)) };
}

/** A fresh view of one shard. */
async function viewOf(reader: CollectionReader, shard: string): Promise<ShardView> {
  const views = await reader.views({ fresh: true });
  for (const other of views) if (other.shard !== shard) other[Symbol.dispose]();
  return views.find((view) => view.shard === shard) as ShardView;
}

function touchedIn({ layers }: ShardView): TouchedRecords {
  return {
    record: (id) => resolveRecord(layers, id),
    lastTouched: (id, parent) => lastTouched(layers, id, parent),
    recordsOfParent: (parent) => recordsOfParent(layers, parent),
    replacedAt: (parent) => {
      const newest = Math.max(0, ...layers.map((layer) => layer.replacedAt(parent) ?? 0));
      return newest === 0 ? undefined : newest;
    },
  };
}
