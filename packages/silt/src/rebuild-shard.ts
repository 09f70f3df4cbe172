/**
 * Folds the log of a shard from its start, where its bundles are kept, and compares it with the current
 * version: the proof of I2 on a real store. Changes nothing.
 *  1. pointer and manifest; the runs that it has applied and does not exclude
 *  2. batch after batch of bundles is merged over what was folded so far, and so are the version's segments
 *  3. both are one segment of records now: rows and digest sums must be equal, else the ids are named
 * Disk: two folds of the shard at most, and one batch of bundles.
 */
import { createReadStream } from "node:fs";
import {
  type CollectionIdentity,
  lanesToHex,
  type MergedSegment,
  type MergeInput,
  type Ports,
  type Run,
  readCurrent,
  type SegmentDescriptor,
  type SegmentOwner,
  type ShardRef,
  SiltError,
  type SnapshotManifest,
  type Workbench,
} from "@silt/core";
import { compareFolds, fileOf, rowsOf } from "./compare-folds.ts";

export interface ShardRebuild {
  readonly collection: string;
  readonly shard: string;
  /** `bundles-gone`: the log cannot prove the version any more, for bundles of it were collected. */
  readonly outcome: "equal" | "different" | "bundles-gone";
  readonly version: number;
  readonly appliedThrough: number;
  readonly runs: number;
  /** Runs that the version excludes. */
  readonly excluded: number;
  /** Records that the log gives, and that the version holds; null when bundles are gone. */
  readonly rebuilt: number | null;
  readonly current: number | null;
  /** Sequence numbers of the first and last run whose bundle is gone; null when all are there. */
  readonly gone: { readonly from: number; readonly to: number; readonly runs: number } | null;
  /** Ids that differ, the first of them. */
  readonly differs: readonly string[];
}

export interface RebuildOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const RUNS_PAGE = 1_000;
const BATCH_RUNS_MAX = 64;
const BATCH_BYTES_MAX = 256 * 1024 * 1024;
/** A merge needs its inputs, its output and room for a rewrite at once. */
const DISK_FACTOR = 3;
const DISK_RESERVE_BYTES = 16 * 1024 * 1024;

/** Rebuilds one shard. Throws `corrupt` for a bundle or segment that is damaged. */
export async function rebuildShard(
  ports: Ports,
  identity: CollectionIdentity,
  shard: ShardRef,
  options: RebuildOptions = {},
): Promise<ShardRebuild> {
  const owner: SegmentOwner = { ...shard, vectors: identity.vectors };
  const { manifest } = await readCurrent(ports.objects, shard);
  const runs = await appliedRuns(ports, shard, manifest);
  const gone = await findGone(ports, runs);
  const basis = {
    collection: shard.collection,
    shard: shard.shard,
    version: manifest.version,
    appliedThrough: manifest.appliedThrough,
    runs: runs.length,
    excluded: manifest.appliedThrough - runs.length,
  };
  if (gone !== null) {
    const unknown = { rebuilt: null, current: null, gone, differs: [] };
    return { ...basis, outcome: "bundles-gone", ...unknown };
  }
  const { segments } = manifest;
  const { signal, onProgress } = options;
  const total = runs.length + segments.length;
  const tell = (done: number) => onProgress?.(done, total);
  await using rebuilt = await fold(ports, owner, batchesOf(runs), { signal, onDone: tell });
  const onDone = (done: number) => tell(runs.length + done);
  await using current = await fold(ports, owner, [segments], { signal, onDone });
  const differs = compareFolds(rebuilt.merged, current.merged, ports.logger);
  return {
    ...basis,
    outcome: differs.length === 0 ? "equal" : "different",
    rebuilt: rowsOf(rebuilt.merged),
    current: rowsOf(current.merged),
    gone: null,
    differs,
  };
}

async function appliedRuns(
  { log }: Ports,
  shard: ShardRef,
  { appliedThrough, excluded }: SnapshotManifest,
): Promise<readonly Run[]> {
  const runs: Run[] = [];
  for (let after = 0; after < appliedThrough; ) {
    const limit = Math.min(RUNS_PAGE, appliedThrough - after);
    const page = await log.readRuns(shard, { after, limit });
    if (page[0]?.sequence !== after + 1) {
      throw new SiltError(
        "corrupt",
        `Cannot rebuild "${shard.collection}" ${shard.shard}: run ${after + 1} is missing in the log; run "silt verify"`,
      );
    }
    after = page.at(-1)?.sequence ?? appliedThrough;
    runs.push(...page);
  }
  return runs.filter(
    ({ sequence }) => !excluded.some(({ from, to }) => from <= sequence && sequence <= to),
  );
}

async function findGone({ objects }: Ports, runs: readonly Run[]): Promise<ShardRebuild["gone"]> {
  const gone: number[] = [];
  for (const { sequence, delta } of runs) {
    if ((await objects.head(delta.key)).outcome === "absent") gone.push(sequence);
  }
  const [from] = gone;
  return from === undefined ? null : { from, to: gone.at(-1) as number, runs: gone.length };
}

function batchesOf(runs: readonly Run[]): readonly (readonly Run[])[] {
  const batches: Run[][] = [];
  let bytes = 0;
  for (const run of runs) {
    const last = batches.at(-1);
    bytes += run.delta.bytes;
    if (last === undefined || last.length === BATCH_RUNS_MAX || bytes > BATCH_BYTES_MAX) {
      batches.push([run]);
      bytes = run.delta.bytes;
    } else last.push(run);
  }
  return batches;
}

interface Folded extends AsyncDisposable {
  /** Undefined when there was nothing to fold. */
  readonly merged: MergedSegment | undefined;
}

interface FoldOptions {
  readonly signal: AbortSignal | undefined;
  readonly onDone: (done: number) => void;
}

/** Merges batch after batch; each on a workbench of its own, so that what was merged goes. */
async function fold(
  ports: Ports,
  owner: SegmentOwner,
  batches: readonly (readonly (Run | SegmentDescriptor)[])[],
  { signal, onDone }: FoldOptions,
): Promise<Folded> {
  let merged: MergedSegment | undefined;
  let lastSequence = 0;
  let bench: Workbench | undefined;
  let done = 0;
  try {
    for (const batch of batches.filter((parts) => parts.length > 0)) {
      signal?.throwIfAborted();
      const next = await ports.engine.openWorkbench();
      try {
        await checkDisk(next, owner, batch, merged);
        const before = merged && [await takeOver(next, owner, merged, lastSequence)];
        const inputs = [...(before ?? [])];
        for (const part of batch) {
          signal?.throwIfAborted();
          inputs.push(await receive(ports, next, owner, part, signal));
          onDone(++done);
        }
        lastSequence = inputs.at(-1)?.lastSequence ?? lastSequence;
        const rule = { drop: "spent" } as const;
        const range = { firstSequence: 1, lastSequence };
        merged = await next.merge(owner, inputs, { ...range, rule, signal });
      } catch (error) {
        await next[Symbol.asyncDispose]();
        throw error;
      }
      await bench?.[Symbol.asyncDispose]();
      bench = next;
    }
  } catch (error) {
    await bench?.[Symbol.asyncDispose]();
    throw error;
  }
  return { merged, [Symbol.asyncDispose]: async () => bench?.[Symbol.asyncDispose]() };
}

async function checkDisk(
  bench: Workbench,
  owner: SegmentOwner,
  batch: readonly (Run | SegmentDescriptor)[],
  merged: MergedSegment | undefined,
): Promise<void> {
  const bytes = batch.reduce((sum, part) => sum + refOf(part).bytes, merged?.bytes ?? 0);
  const needed = bytes * DISK_FACTOR + DISK_RESERVE_BYTES;
  const free = await bench.freeBytes();
  if (free >= needed) return;
  throw new SiltError(
    "unavailable",
    `Cannot rebuild "${owner.collection}" ${owner.shard}: ${free} bytes are free for temporary files, ${needed} are needed; free some space and try again`,
  );
}

const refOf = (part: Run | SegmentDescriptor) => ("delta" in part ? part.delta : part.object);

async function receive(
  { objects }: Ports,
  bench: Workbench,
  owner: SegmentOwner,
  part: Run | SegmentDescriptor,
  signal: AbortSignal | undefined,
): Promise<MergeInput> {
  const { key } = refOf(part);
  const refuse = (kind: "conflict" | "corrupt", state: string) =>
    new SiltError(
      kind,
      `Cannot rebuild "${owner.collection}" ${owner.shard}: ${"delta" in part ? `the bundle of run ${part.sequence}` : "segment"} "${key}" ${state}`,
    );
  const found = await objects.read(key);
  if (found.outcome === "absent") throw refuse("conflict", "was collected meanwhile; try again");
  const received =
    "delta" in part
      ? await bench.receiveDelta(owner, part, found.body, { signal })
      : await bench.receiveSegment(owner, part, found.body);
  if (received.outcome === "poison") {
    throw refuse("corrupt", `is damaged (${received.reason}); run "silt verify"`);
  }
  if ("delta" in part) return received.input;
  // A segment comes with its hash alone; what is wrong inside would look like a bug of the merge.
  const options = { deep: false, signal };
  const [wrong] = await bench.auditSegment(owner, part, received.input, options);
  if (wrong === undefined) return received.input;
  throw refuse("corrupt", `is unsound (${wrong}); run "silt verify"`);
}

/** What another workbench has merged, as an input of this one. */
async function takeOver(
  bench: Workbench,
  owner: SegmentOwner,
  merged: MergedSegment,
  lastSequence: number,
): Promise<MergeInput> {
  const { bytes, sha256, rows, replaced, sums } = merged;
  const descriptor: SegmentDescriptor = {
    object: { key: "what was folded so far", bytes, sha256, codec: "none" },
    firstSequence: 1,
    lastSequence,
    rows,
    replaced,
    sums: { v: lanesToHex(sums.v), t: lanesToHex(sums.t) },
    tombstonesSince: null,
    sidecars: [],
  };
  const received = await bench.receiveSegment(owner, descriptor, createReadStream(fileOf(merged)));
  if (received.outcome === "sound") return received.input;
  throw new SiltError("unavailable", `Cannot rebuild "${owner.collection}": ${received.reason}`);
}
