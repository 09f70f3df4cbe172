/**
 * Compaction of one shard, the protocol's main path:
 *  1. take the lease, with an epoch above all earlier ones, and keep it by heartbeats
 *  2. read `APPLIED`, pointer and HEAD, in this order, and check that they belong together
 *  3. list the pending runs: contiguous, their rolling hash unbroken
 *  4. plan, and check the disk before any work
 *  5. fetch and verify the inputs; poison excludes its run alone, the environment only this attempt
 *  6. merge off the event loop; the engine checks integrity and balances the books
 *  7. upload under a prefix that no other attempt uses, then the manifest; read both back
 *  8. flip the pointer by compare-and-swap: the only commit
 *  9. raise `APPLIED`; 10. release the lease, and hint again if runs came meanwhile
 * A compactor deletes no object. I1 to I4 rest on steps 5 to 8, none of them on the lease.
 */
import { addLanes, lanesToHex, ZERO_LANES } from "./digest.ts";
import type { DropRule } from "./fold.ts";
import {
  type CollectionIdentity,
  type Exclusion,
  encodeJson,
  FORMAT,
  type ObjectRef,
  type Pointer,
  type Policy,
  type Run,
  type SegmentDescriptor,
  type SnapshotManifest,
  seal,
  sha256Of,
} from "./formats.ts";
import { shortId } from "./ids.ts";
import { manifestKey, segmentKey, shardPartition } from "./object-keys.ts";
import {
  type CompactionPlan,
  openExclusionStart,
  planCompaction,
  tombstonesSinceOf,
} from "./plan-compaction.ts";
import type {
  Head,
  Lease,
  MergedSegment,
  MergeInput,
  Ports,
  SegmentOwner,
  ShardRef,
  Workbench,
} from "./ports.ts";
import { storeImmutable } from "./publish-delta.ts";
import { type ReceivedRun, receiveRuns } from "./receive-runs.ts";
import { countRows } from "./row.ts";
import { nextRunsHash } from "./run-chain.ts";
import { assert, isSiltError, SiltError } from "./silt-error.ts";
import {
  flipPointer,
  nextAncestors,
  type ReadPointer,
  readManifest,
  readPointer,
} from "./snapshot-pointer.ts";

export interface CompactOptions {
  /** Names the process in the lease and in messages. */
  readonly holder: string;
  readonly signal?: AbortSignal;
  /** Runs that an operator gives up although they cannot be judged, e.g. because their bundle is gone. */
  readonly giveUp?: ReadonlySet<string>;
  readonly onProgress?: (step: string, done: number, total: number) => void;
}

export interface CompactReport {
  readonly outcome: "flipped" | "nothing-to-do" | "busy" | "lost";
  readonly version: number;
  readonly appliedThrough: number;
  readonly rowsIn: number;
  readonly rowsOut: number;
  readonly superseded: number;
  readonly bytesWritten: number;
  readonly excluded: readonly {
    readonly runId: string;
    readonly sequence: number;
    readonly reason: string;
  }[];
  /** Who works, when busy. */
  readonly holder?: string;
  readonly behind: number;
}

/** A merge needs its inputs, its output and room for a rewrite at once. */
const DISK_FACTOR = 3;
const DISK_RESERVE_BYTES = 16 * 1024 * 1024;

/** Folds pending runs of one shard into a new version, once. Throws when the attempt fails; nothing is changed then. */
export async function compactShard(
  ports: Ports,
  identity: CollectionIdentity,
  policy: Policy,
  shard: ShardRef,
  options: CompactOptions,
): Promise<CompactReport> {
  const before = await readPointer(ports.objects, shard);
  const { ttlMs, skewMs, heartbeatMs } = policy.lease;
  const acquired = await ports.leases.acquire(shard, {
    holder: options.holder,
    ttlMs,
    skewMs,
    aboveEpoch: before.pointer.epoch,
  });
  if (acquired.outcome === "held") {
    return { ...unchanged("busy", before.pointer), holder: acquired.by };
  }
  const heartbeat = keepLease(ports, acquired.lease, ttlMs, heartbeatMs);
  try {
    const signal = AbortSignal.any([heartbeat.signal, ...(options.signal ? [options.signal] : [])]);
    const attempt = {
      ports,
      identity,
      policy,
      shard,
      lease: acquired.lease,
      options: { ...options, signal },
    };
    return await compactUnderLease(attempt);
  } finally {
    heartbeat.stop();
    await releaseAndHint(ports, acquired.lease);
  }
}

interface Attempt {
  readonly ports: Ports;
  readonly identity: CollectionIdentity;
  readonly policy: Policy;
  readonly shard: ShardRef;
  readonly lease: Lease;
  readonly options: CompactOptions & { readonly signal: AbortSignal };
}

function unchanged(outcome: CompactReport["outcome"], pointer: Pointer): CompactReport {
  const { version, appliedThrough } = pointer;
  const nothing = {
    rowsIn: 0,
    rowsOut: 0,
    superseded: 0,
    bytesWritten: 0,
    excluded: [],
    behind: 0,
  };
  return { outcome, version, appliedThrough, ...nothing };
}

/** Extends the lease until stopped; its signal aborts when the lease is really lost, not when the log is slow. */
function keepLease(ports: Ports, lease: Lease, ttlMs: number, heartbeatMs: number) {
  const lost = new AbortController();
  let extending = false;
  let expiresAtMs = lease.expiresAtMs;
  const fence = (why: string) =>
    lost.abort(
      new SiltError("fenced", `Cannot go on compacting "${shardPartition(lease.shard)}": ${why}`),
    );
  const beat = async () => {
    if (extending) return;
    extending = true;
    const sentAtMs = ports.clock.nowMs();
    try {
      if ((await ports.leases.extend(lease, ttlMs)) === "lost")
        fence("another compactor took the lease");
      else expiresAtMs = sentAtMs + ttlMs;
    } catch (error) {
      ports.logger.log("warn", "heartbeat failed", {
        shard: shardPartition(lease.shard),
        error: String(error),
      });
      if (ports.clock.nowMs() > expiresAtMs)
        fence("the lease ran out while the log did not answer");
    } finally {
      extending = false;
    }
  };
  const stop = ports.clock.every(heartbeatMs, () => void beat());
  return { stop, signal: lost.signal };
}

async function releaseAndHint(ports: Ports, lease: Lease): Promise<void> {
  try {
    if ((await ports.leases.release(lease)) === "lost") return;
    const { pointer } = await readPointer(ports.objects, lease.shard);
    const head = await ports.log.readHead(lease.shard);
    // A hint that met our lease was dropped: whoever releases looks again (F59).
    if (head !== undefined && head.sequence > pointer.appliedThrough)
      await ports.hints.send(lease.shard);
  } catch (error) {
    // The result of the compaction stands; the sweep hints what is forgotten.
    ports.logger.log("warn", "release failed", {
      shard: shardPartition(lease.shard),
      error: String(error),
    });
  }
}

interface ShardState {
  readonly base: ReadPointer;
  readonly manifest: SnapshotManifest;
  readonly head: Head;
  readonly pending: readonly Run[];
}

async function compactUnderLease(attempt: Attempt): Promise<CompactReport> {
  const { ports, policy, options, shard } = attempt;
  const state = await readShardState(attempt);
  const plan = planCompaction(
    state.manifest,
    state.pending,
    policy.compaction,
    ports.clock.nowMs(),
  );
  if (plan === undefined) return unchanged("nothing-to-do", state.base.pointer);
  await using workbench = await ports.engine.openWorkbench();
  await checkDisk(workbench, plan, shard);

  const owner: SegmentOwner = { ...shard, vectors: attempt.identity.vectors };
  const received = await receiveRuns(
    ports,
    workbench,
    owner,
    plan.runs,
    state.base.pointer,
    options,
  );
  const segments = await fetchSegments(attempt, workbench, owner, plan);
  const excluded = nextExclusions(state.manifest, received, plan.runs, ports.clock.nowMs());
  const result = await merge(attempt, workbench, owner, {
    plan,
    received,
    segments,
    excluded,
    state,
  });
  options.signal.throwIfAborted();

  const next = await uploadVersion(attempt, { plan, excluded, result, state });
  const flipped = await flip(
    attempt,
    state,
    next,
    excluded.length > state.manifest.excluded.length,
  );
  if (flipped === "lost") return unchanged("lost", state.base.pointer);
  return report(attempt, state, plan, received, result, next);
}

/** Step 2 and 3. The order `APPLIED`, pointer, HEAD matters: any other reports a false "old pointer". */
async function readShardState({ ports, shard, lease, policy }: Attempt): Promise<ShardState> {
  const applied = await ports.log.readApplied(shard);
  const base = await readPointer(ports.objects, shard);
  const head = await ports.log.readHead(shard);
  checkBelongTogether(shard, base.pointer, head, applied?.version ?? 0);
  if (base.pointer.epoch >= lease.epoch) {
    throw new SiltError(
      "fenced",
      `Cannot compact "${shardPartition(shard)}": the pointer has epoch ${base.pointer.epoch}, this lease ${lease.epoch}; a newer compactor works`,
    );
  }
  const manifest = await readManifest(ports.objects, base.pointer);
  const { runsMax } = policy.compaction;
  const pending = await ports.log.readRuns(shard, {
    after: base.pointer.appliedThrough,
    limit: runsMax,
  });
  checkChain(shard, base.pointer, head, pending);
  return { base, manifest, head, pending };
}

/** A restored table, a wrong bucket or an old pointer must never be compacted. */
export function checkBelongTogether(
  shard: ShardRef,
  pointer: Pointer,
  head: Head | undefined,
  appliedVersion: number,
): asserts head is Head {
  const refuse = (state: string): never => {
    throw new SiltError(
      "corrupt",
      `Cannot use "${shardPartition(shard)}": ${state}; the log and the objects do not belong together, ` +
        'nothing was changed. Restore both from the same moment, then run "silt verify"',
    );
  };
  if (head === undefined) refuse("the log has no HEAD for it");
  else if (head.sequence < pointer.appliedThrough) {
    refuse(
      `the log ends at run ${head.sequence}, the pointer has applied ${pointer.appliedThrough}`,
    );
  }
  if (pointer.version < appliedVersion) {
    refuse(
      `the pointer is at version ${pointer.version}, the log has seen version ${appliedVersion}`,
    );
  }
}

/** Runs must follow the pointer without a gap, and their rolling hash must continue its own. */
export function checkChain(
  shard: ShardRef,
  pointer: Pointer,
  head: Head,
  pending: readonly Run[],
): void {
  let { appliedThrough: sequence, runsHash } = pointer;
  for (const run of pending) {
    sequence += 1;
    runsHash = nextRunsHash(runsHash, run.runId);
    if (run.sequence === sequence && run.runsHash === runsHash) continue;
    throw new SiltError(
      "corrupt",
      `Cannot use the log of "${shardPartition(shard)}": run ${run.sequence} does not continue the pointer's history (expected run ${sequence} with hash ${runsHash.slice(0, 12)}…)`,
    );
  }
  // Runs registered since HEAD was read are beyond it; a log that ends early, or elsewhere, is not ours.
  if (pending.length === 0 && head.sequence !== sequence) {
    throw new SiltError(
      "corrupt",
      `Cannot use the log of "${shardPartition(shard)}": HEAD is ${head.sequence}, but no run follows ${sequence}`,
    );
  }
  if (head.sequence === sequence && head.runsHash !== runsHash) {
    throw new SiltError(
      "corrupt",
      `Cannot use the log of "${shardPartition(shard)}": HEAD has another history than the pointer`,
    );
  }
}

async function checkDisk(
  workbench: Workbench,
  plan: CompactionPlan,
  shard: ShardRef,
): Promise<void> {
  const needed = plan.bytes * DISK_FACTOR + DISK_RESERVE_BYTES;
  const free = await workbench.freeBytes();
  if (free >= needed) return;
  throw new SiltError(
    "unavailable",
    `Cannot compact "${shardPartition(shard)}": ${free} bytes are free for temporary files, ${needed} are needed; free some space and try again`,
  );
}

async function fetchSegments(
  { ports, options }: Attempt,
  workbench: Workbench,
  owner: SegmentOwner,
  plan: CompactionPlan,
): Promise<readonly MergeInput[]> {
  const inputs: MergeInput[] = [];
  for (const descriptor of plan.merged) {
    options.signal.throwIfAborted();
    const { key } = descriptor.object;
    const found = await ports.objects.read(key);
    if (found.outcome === "absent") {
      throw new SiltError(
        "corrupt",
        `Cannot compact: segment "${key}" is gone, but the current version lists it`,
      );
    }
    const received = await workbench.receiveSegment(owner, descriptor, found.body);
    if (received.outcome === "poison")
      throw new SiltError("corrupt", `Cannot compact: ${received.reason}`);
    inputs.push(received.input);
  }
  return inputs;
}

/** The exclusions of the next version: all earlier ones, those that a run brought back closed, and the new ones. */
function nextExclusions(
  manifest: SnapshotManifest,
  received: readonly ReceivedRun[],
  runs: readonly Run[],
  nowMs: number,
): readonly Exclusion[] {
  const poisoned = new Set(
    received.flatMap((run) => (run.outcome === "poison" ? [run.run.runId] : [])),
  );
  const retries = runs.filter((run) => run.retryOf !== null && !poisoned.has(run.runId));
  const inherited = manifest.excluded.map((exclusion): Exclusion => {
    const retry = retries.find(
      ({ retryOf }) => retryOf !== null && retryOf >= exclusion.from && retryOf <= exclusion.to,
    );
    return retry === undefined
      ? exclusion
      : { ...exclusion, retriedBy: exclusion.retriedBy ?? retry.runId };
  });
  const excludedAt = new Date(nowMs).toISOString();
  const added = received.flatMap((run): Exclusion[] => {
    if (run.outcome === "sound") return [];
    const { sequence, runId } = run.run;
    return [
      {
        from: sequence,
        to: sequence,
        runIds: [runId],
        reason: run.reason,
        excludedAt,
        retriedBy: null,
      },
    ];
  });
  return [...inherited, ...added];
}

interface MergeParts {
  readonly plan: CompactionPlan;
  readonly received: readonly ReceivedRun[];
  readonly segments: readonly MergeInput[];
  readonly excluded: readonly Exclusion[];
  readonly state: ShardState;
}

interface MergeOutput {
  readonly merged: MergedSegment;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly inputs: readonly MergeInput[];
}

async function merge(
  { ports, options }: Attempt,
  workbench: Workbench,
  owner: SegmentOwner,
  parts: MergeParts,
): Promise<MergeOutput | undefined> {
  const { plan, received, segments, state } = parts;
  const sound = received.flatMap((run) => (run.outcome === "sound" ? [run.input] : []));
  const inputs = [...segments, ...sound];
  if (inputs.length === 0) return undefined;
  const firstSequence = (plan.kept.at(-1)?.lastSequence ?? 0) + 1;
  const lastSequence = appliedAfter(state, plan).appliedThrough;
  const keepFrom = openExclusionStart(parts.excluded);
  const rule: DropRule = plan.kept.length === 0 ? { drop: "spent", keepFrom } : { drop: "nothing" };
  options.onProgress?.("merge", 0, inputs.length);
  const { signal } = options;
  const merged = await workbench.merge(owner, inputs, {
    firstSequence,
    lastSequence,
    rule,
    signal,
  });
  checkVectorSums(inputs, merged);
  ports.metrics.count("MergedRows", countRows(merged.rows), { collection: owner.collection });
  return { merged, firstSequence, lastSequence, inputs };
}

/** I3 once more, over what the engine says: vectors are never made by a merge. */
function checkVectorSums(inputs: readonly MergeInput[], merged: MergedSegment): void {
  const before = inputs.reduce((sum, input) => addLanes(sum, input.sums.v), ZERO_LANES);
  const after = addLanes(merged.sums.v, merged.account.superseded);
  assert(lanesToHex(before) === lanesToHex(after), "the vectors of a merge balance");
}

function appliedAfter(
  state: ShardState,
  plan: CompactionPlan,
): { appliedThrough: number; runsHash: string } {
  const last = plan.runs.at(-1);
  const { appliedThrough, runsHash } = state.base.pointer;
  return last === undefined
    ? { appliedThrough, runsHash }
    : { appliedThrough: last.sequence, runsHash: last.runsHash };
}

/** Step 7: segment, then manifest, each read back; gives the pointer that would name them. */
async function uploadVersion(
  { ports, shard, lease, identity, options }: Attempt,
  parts: Pick<MergeParts, "plan" | "excluded" | "state"> & {
    readonly result: MergeOutput | undefined;
  },
): Promise<Pointer> {
  const { plan, state, result, excluded } = parts;
  const { pointer } = state.base;
  const commitId = shortId(ports.random.bytes(8));
  const version = pointer.version + 1;
  const segments = [...plan.kept];
  if (result !== undefined && countRows(result.merged.rows) + result.merged.replaced > 0) {
    const { merged, firstSequence, lastSequence } = result;
    const { bytes, sha256 } = merged;
    const key = segmentKey(shard, version, commitId, { firstSequence, lastSequence });
    const object: ObjectRef = { key, bytes, sha256, codec: "none" };
    options.onProgress?.("upload", 0, bytes);
    await storeImmutable(ports.objects, object, merged.source);
    segments.push({
      object,
      firstSequence,
      lastSequence,
      rows: merged.rows,
      replaced: merged.replaced,
      sums: { v: lanesToHex(merged.sums.v), t: lanesToHex(merged.sums.t) },
      tombstonesSince: tombstonesSinceOf(merged, plan.merged, plan.runs),
      sidecars: [],
    });
  }
  const committedAt = new Date(ports.clock.nowMs()).toISOString();
  const identityOf = {
    collection: shard.collection,
    storeId: shard.storeId,
    shard: shard.shard,
    version,
    commitId,
    epoch: lease.epoch,
    ...appliedAfter(state, plan),
  };
  const manifest: SnapshotManifest = {
    format: FORMAT,
    requires: [],
    kind: "snapshot",
    ...identityOf,
    parent: { version: pointer.version, commitId: pointer.commitId, manifest: pointer.manifest },
    parentManifestSha256: pointer.manifest.sha256,
    vectors: identity.vectors,
    segments,
    excluded: [...excluded],
    stats: statsOf(segments, committedAt),
  };
  const ref = await storeManifest(ports, shard, manifest);
  return seal({
    format: FORMAT as 1,
    requires: [],
    ...identityOf,
    manifest: ref,
    parentCommitId: pointer.commitId,
    ancestors: nextAncestors(pointer),
    committedAt,
  });
}

export function statsOf(
  segments: readonly SegmentDescriptor[],
  committedAt: string,
): SnapshotManifest["stats"] {
  return {
    rows: segments.reduce((sum, segment) => sum + countRows(segment.rows), 0),
    segments: segments.length,
    bytes: segments.reduce((sum, segment) => sum + segment.object.bytes, 0),
    committedAt,
  };
}

/** Stores a manifest under its version's own prefix and reads it back. */
export async function storeManifest(
  ports: Pick<Ports, "objects">,
  shard: ShardRef,
  manifest: SnapshotManifest,
): Promise<ObjectRef> {
  const bytes = encodeJson(manifest);
  const key = manifestKey(shard, manifest.version, manifest.commitId);
  const ref: ObjectRef = { key, bytes: bytes.byteLength, sha256: sha256Of(bytes), codec: "none" };
  await storeImmutable(ports.objects, ref, { kind: "bytes", bytes });
  return ref;
}

/** Steps 8 and 9. An exclusion is announced in HEAD first: conditional deletes must not decide across it. */
async function flip(
  { ports, shard, lease, options }: Attempt,
  state: ShardState,
  next: Pointer,
  excludes: boolean,
): Promise<"committed" | "lost"> {
  if (excludes) await ports.log.setExcluding(shard, true);
  const head = await ports.log.readHead(shard);
  checkBelongTogether(shard, next, head, 0);
  options.signal.throwIfAborted();
  assert(state.base.pointer.epoch < lease.epoch && next.epoch === lease.epoch, "epochs only rise");
  const flipped = await flipPointer(ports, shard, state.base, next);
  if (flipped.outcome === "unknown") {
    throw new SiltError(
      "unavailable",
      `Cannot tell whether version ${next.version} of "${shardPartition(shard)}" was committed: others have moved on too far; nothing was deleted`,
    );
  }
  if (excludes) await ports.log.setExcluding(shard, false);
  if (flipped.outcome === "lost") return "lost";
  const { version, appliedThrough } = next;
  try {
    await ports.log.raiseApplied(shard, { version, appliedThrough });
  } catch (error) {
    // The flip stands; anyone can raise APPLIED from the pointer later.
    if (!isSiltError(error, "unavailable")) throw error;
    ports.logger.log("warn", "APPLIED not raised", { shard: shardPartition(shard), version });
  }
  return "committed";
}

function report(
  { ports, shard }: Attempt,
  state: ShardState,
  plan: CompactionPlan,
  received: readonly ReceivedRun[],
  result: MergeOutput | undefined,
  next: Pointer,
): CompactReport {
  ports.metrics.count("Flips", 1, { collection: shard.collection });
  return {
    outcome: "flipped",
    version: next.version,
    appliedThrough: next.appliedThrough,
    rowsIn: (result?.inputs ?? []).reduce((sum, input) => sum + countRows(input.rows), 0),
    rowsOut: result === undefined ? 0 : countRows(result.merged.rows),
    superseded: result?.merged.account.supersededRows ?? 0,
    bytesWritten: result?.merged.bytes ?? 0,
    excluded: received.flatMap((run) =>
      run.outcome === "poison"
        ? [{ runId: run.run.runId, sequence: run.run.sequence, reason: run.reason }]
        : [],
    ),
    behind: Math.max(
      0,
      state.head.sequence - (plan.runs.at(-1)?.sequence ?? state.base.pointer.appliedThrough),
    ),
  };
}
