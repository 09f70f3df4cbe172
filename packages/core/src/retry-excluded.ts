/** Bringing an excluded run back, as a new run, for what was not written since (rule 11). */
import { createDeltaBuffer, type DeltaBuffer } from "./delta-buffer.ts";
import type { CollectionIdentity, Exclusion, Run } from "./formats.ts";
import { shardPartition } from "./object-keys.ts";
import type { Ports, SegmentOwner, ShardRef } from "./ports.ts";
import type { RegisteredRun } from "./register-runs.ts";
import type { PutRow, Row, SegmentContent } from "./row.ts";
import { isStillCurrent, type OpenVersion, type VersionView } from "./shard-reader.ts";
import { SiltError } from "./silt-error.ts";
import { writeDeltas } from "./write-deltas.ts";

const DECISIONS_MAX = 10;
const RUNS_PAGE = 1_000;

/** What a view knows of ids and parents, tombstones included. */
export interface TouchedRecords {
  readonly record: (id: string) => PutRow | undefined;
  /** The run that touched an id, or replaced its parent, last; undefined when nothing remembers it. */
  readonly lastTouched: (id: string, parent: string | null) => number | undefined;
  readonly recordsOfParent: (parent: string) => readonly PutRow[];
  /** The run that replaced a parent last. */
  readonly replacedAt: (parent: string) => number | undefined;
}

export interface RetryScope<View extends VersionView<OpenVersion>> {
  /** A fresh view of the run's shard; it is disposed when the decision is made. */
  readonly view: () => Promise<View>;
  readonly touched: (view: View) => TouchedRecords;
}

export interface RetryOutcome {
  readonly run: RegisteredRun;
  /** Operations that were left out, for their ids were written since. */
  readonly skipped: number;
}

/**
 * Submits an excluded run again as a new run, conditional on HEAD: of its operations those whose ids
 * nothing has touched since. Throws `invalid` when it is not excluded, was rolled back or came back
 * already, `corrupt` when its bundle still is unsound.
 */
export async function retryExcluded<View extends VersionView<OpenVersion>>(
  ports: Ports,
  identity: CollectionIdentity,
  shard: ShardRef,
  sequence: number,
  { view: open, touched }: RetryScope<View>,
): Promise<RetryOutcome> {
  const [run] = await ports.log.readRuns(shard, { after: sequence - 1, limit: 1 });
  if (run?.sequence !== sequence) {
    throw new SiltError(
      "invalid",
      `Cannot retry run ${sequence} of "${shardPartition(shard)}": there is none`,
    );
  }
  const content = await readBundle(ports, { ...shard, vectors: identity.vectors }, run);
  for (let attempt = 1; attempt <= DECISIONS_MAX; attempt++) {
    const view = await open();
    try {
      if (!(await isStillCurrent(ports, shard, view))) continue;
      await checkMayComeBack(ports, shard, view, run);
      const { buffer, skipped } = untouchedSince(touched(view), content, sequence);
      const written = await writeDeltas(
        ports,
        identity,
        [{ shard: shard.shard, content: buffer.content(), bytes: buffer.bytes }],
        {
          retryOf: sequence,
          source: run.source,
          heads: new Map([[shardPartition(shard), view.head]]),
        },
      );
      const again = written.outcome === "written" ? written.runs[0] : undefined;
      if (again !== undefined) return { run: again, skipped };
    } finally {
      view[Symbol.dispose]();
    }
    await ports.clock.sleep(ports.random.fraction() * 20 * attempt);
  }
  throw new SiltError(
    "conflict",
    `Cannot retry run "${run.runId}": others wrote faster ${DECISIONS_MAX} times; try again`,
  );
}

async function readBundle(ports: Ports, owner: SegmentOwner, run: Run): Promise<SegmentContent> {
  const { runId, delta } = run;
  const found = await ports.objects.read(delta.key);
  if (found.outcome === "absent") {
    throw new SiltError(
      "corrupt",
      `Cannot retry run "${runId}": its bundle "${delta.key}" is missing; restore it from a backup first`,
    );
  }
  await using workbench = await ports.engine.openWorkbench();
  const received = await workbench.receiveDelta(owner, run, found.body);
  if (received.outcome === "poison") {
    throw new SiltError(
      "corrupt",
      `Cannot retry run "${runId}": its bundle "${delta.key}" still is unsound (${received.reason}); restore it from a backup, or write its records again`,
    );
  }
  return workbench.readDelta(received.input);
}

/** A retry that is registered, applied or not, must not be doubled. */
async function checkMayComeBack(
  ports: Ports,
  shard: ShardRef,
  view: VersionView<OpenVersion>,
  { runId, sequence }: Run,
): Promise<void> {
  if (view.behind > 0) {
    throw new SiltError(
      "unavailable",
      `Cannot retry run "${runId}": run ${view.blockedBy?.sequence} cannot be read, so what was written since is not known; compact first`,
    );
  }
  if (view.head.excluding !== null) {
    throw new SiltError(
      "unavailable",
      `Cannot retry run "${runId}": an exclusion is at work, so what will have been written since is not known; try again`,
    );
  }
  const exclusion = view.snapshot.manifest.excluded.find(
    ({ from, to }) => from <= sequence && sequence <= to,
  );
  refuseUnlessOpen(runId, exclusion);
  const again = exclusion?.retriedBy ?? (await findPendingRetry(ports, shard, view, sequence));
  if (again === undefined) return;
  throw new SiltError(
    "invalid",
    `Cannot retry run "${runId}": it came back as run "${again}" already`,
  );
}

/** What was rolled back is undone for good: what was written over it since is not remembered. */
function refuseUnlessOpen(runId: string, exclusion: Exclusion | undefined): void {
  if (exclusion?.cause === "poison") return;
  throw new SiltError(
    "invalid",
    exclusion === undefined
      ? `Cannot retry run "${runId}": it is not excluded`
      : `Cannot retry run "${runId}": it was undone (${exclusion.reason}); write its records again`,
  );
}

async function findPendingRetry(
  ports: Ports,
  shard: ShardRef,
  view: VersionView<OpenVersion>,
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
  { record, lastTouched, recordsOfParent, replacedAt }: TouchedRecords,
  content: SegmentContent,
  sequence: number,
): { readonly buffer: DeltaBuffer; readonly skipped: number } {
  const buffer = createDeltaBuffer();
  let skipped = 0;
  for (const parent of content.replaced.keys()) {
    const children = recordsOfParent(parent);
    const newer = children.filter((child) => child.sequence > sequence);
    // A marker would also kill what came since: then only the older children go, one by one.
    if (newer.length === 0 && (replacedAt(parent) ?? 0) <= sequence) {
      buffer.replace(parent);
      continue;
    }
    skipped += 1;
    for (const child of children) {
      if (child.sequence > sequence) continue;
      buffer.add({ operation: "delete", id: child.id, sequence: 0 });
    }
  }
  for (const row of content.rows.values()) {
    const parent = parentOf(row, record(row.id));
    if ((lastTouched(row.id, parent) ?? 0) > sequence) skipped += 1;
    else buffer.add({ ...row, sequence: 0 });
  }
  return { buffer, skipped };
}

function parentOf(row: Row, current: PutRow | undefined): string | null {
  return row.operation === "put" ? row.parent : (current?.parent ?? null);
}
