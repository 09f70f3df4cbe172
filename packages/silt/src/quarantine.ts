/** Excluded runs: listing them, and submitting one again for what was not written since. */
import {
  type CollectionIdentity,
  createDeltaBuffer,
  type DeltaBuffer,
  type Exclusion,
  listCollections,
  openCollection,
  type Ports,
  type PutRow,
  type Row,
  type Run,
  readManifest,
  readPointer,
  type SegmentContent,
  type SegmentOwner,
  type ShardRef,
  SiltError,
  shardPartition,
  shardRefs,
  writeDeltas,
} from "@silt/core";
import {
  type CollectionReader,
  lastTouched,
  recordsOfParent,
  resolveRecord,
  type ShardView,
} from "@silt/reader";
import type { AcknowledgedRun } from "./acknowledgement.ts";

const DECISIONS_MAX = 10;
const RUNS_PAGE = 1_000;

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
      const { pointer } = await readPointer(ports.objects, shard);
      const manifest = await readManifest(ports.objects, pointer);
      for (const exclusion of manifest.excluded) {
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
 * Submits an excluded run again as a new run, conditional on HEAD: of its operations those whose ids
 * nothing has touched since. Throws `invalid` when it came back already, `corrupt` when its bundle
 * still is unsound.
 */
export async function retryQuarantined(
  ports: Ports,
  identity: CollectionIdentity,
  reader: CollectionReader,
  quarantined: QuarantinedRun,
): Promise<RetryReport> {
  const { runId, retriedBy } = quarantined;
  if (retriedBy !== null) {
    throw new SiltError(
      "invalid",
      `Cannot retry run "${runId}": it came back as run "${retriedBy}" already`,
    );
  }
  const shard = shardRefs(identity).find((ref) => ref.shard === quarantined.shard) as ShardRef;
  const content = await readBundle(ports, { ...shard, vectors: identity.vectors }, quarantined);
  for (let attempt = 1; attempt <= DECISIONS_MAX; attempt++) {
    const views = await reader.views({ fresh: true });
    try {
      const view = views.find((one) => one.shard === shard.shard) as ShardView;
      await checkNotSubmitted(ports, shard, view, quarantined);
      const { buffer, skipped } = untouchedSince(view, content, quarantined.sequence);
      const written = await writeDeltas(
        ports,
        identity,
        [{ shard: shard.shard, content: buffer.content(), bytes: buffer.bytes }],
        {
          retryOf: quarantined.sequence,
          source: quarantined.source,
          heads: new Map([[shardPartition(shard), view.head]]),
        },
      );
      const run = written.outcome === "written" ? written.runs[0] : undefined;
      if (run !== undefined) return { collection: identity.collection, run, skipped };
    } finally {
      for (const view of views) view[Symbol.dispose]();
    }
    await ports.clock.sleep(ports.random.fraction() * 20 * attempt);
  }
  throw new SiltError(
    "conflict",
    `Cannot retry run "${runId}": others wrote faster ${DECISIONS_MAX} times; try again`,
  );
}

async function readBundle(
  ports: Ports,
  owner: SegmentOwner,
  { runId, sequence, object }: QuarantinedRun,
): Promise<SegmentContent> {
  const [run] = await ports.log.readRuns(owner, { after: sequence - 1, limit: 1 });
  const found = await ports.objects.read(object);
  if (found.outcome === "absent") {
    throw new SiltError(
      "corrupt",
      `Cannot retry run "${runId}": its bundle "${object}" is missing; restore it from a backup first`,
    );
  }
  await using workbench = await ports.engine.openWorkbench();
  const received = await workbench.receiveDelta(owner, run as Run, found.body);
  if (received.outcome === "poison") {
    throw new SiltError(
      "corrupt",
      `Cannot retry run "${runId}": its bundle "${object}" still is unsound (${received.reason}); restore it from a backup, or write its records again`,
    );
  }
  return workbench.readDelta(received.input);
}

/** A retry that is registered, applied or not, must not be doubled. */
async function checkNotSubmitted(
  ports: Ports,
  shard: ShardRef,
  view: ShardView,
  { runId, sequence }: QuarantinedRun,
): Promise<void> {
  if (view.behind > 0) {
    throw new SiltError(
      "unavailable",
      `Cannot retry run "${runId}": run ${view.blockedBy?.sequence} cannot be read, so what was written since is not known; compact first`,
    );
  }
  const closed = view.snapshot.manifest.excluded.find(
    ({ from, to }) => from <= sequence && sequence <= to,
  )?.retriedBy;
  const again = closed ?? (await findPendingRetry(ports, shard, view, sequence));
  if (again === undefined) return;
  throw new SiltError(
    "invalid",
    `Cannot retry run "${runId}": it came back as run "${again}" already`,
  );
}

async function findPendingRetry(
  ports: Ports,
  shard: ShardRef,
  view: ShardView,
  sequence: number,
): Promise<string | undefined> {
  let after = view.appliedThrough;
  while (after < view.head.sequence) {
    const runs = await ports.log.readRuns(shard, { after, limit: RUNS_PAGE });
    const retry = runs.find(({ retryOf }) => retryOf === sequence);
    if (retry !== undefined) return retry.runId;
    after = runs.at(-1)?.sequence ?? view.head.sequence;
  }
  return undefined;
}

/** The operations of an old content that nothing newer has touched, and how many were left out. */
function untouchedSince(
  view: ShardView,
  content: SegmentContent,
  sequence: number,
): { readonly buffer: DeltaBuffer; readonly skipped: number } {
  const { layers } = view;
  const buffer = createDeltaBuffer();
  let skipped = 0;
  const isNewer = (id: string, parent: string | null) =>
    (lastTouched(layers, id, parent) ?? 0) > sequence;
  for (const parent of content.replaced.keys()) {
    const children = recordsOfParent(layers, parent);
    const newer = children.filter((record) => record.sequence > sequence);
    // A marker would also kill what came since: then only the older children go, one by one.
    if (newer.length === 0 && !layers.some((layer) => (layer.replacedAt(parent) ?? 0) > sequence)) {
      buffer.replace(parent);
      continue;
    }
    skipped += 1;
    for (const child of children) {
      if (child.sequence <= sequence) {
        buffer.add({ operation: "delete", id: child.id, sequence: 0 });
      }
    }
  }
  for (const row of content.rows.values()) {
    if (isNewer(row.id, parentOf(row, resolveRecord(layers, row.id)))) skipped += 1;
    else buffer.add({ ...row, sequence: 0 });
  }
  return { buffer, skipped };
}

function parentOf(row: Row, current: PutRow | undefined): string | null {
  return row.operation === "put" ? row.parent : (current?.parent ?? null);
}
