/**
 * Compaction of one shard, the protocol's main path:
 *  1. take the lease, with an epoch above all earlier ones, and keep it by heartbeats
 *  2. read `APPLIED`, pointer and HEAD, in this order, and check that they belong together (`readShardState`)
 *  3. list the pending runs: contiguous, their rolling hash unbroken
 *  4. plan, and check disk, memory and time before any work
 *  5. fetch and verify the inputs; poison excludes its run alone, the environment only this attempt
 *  6. merge off the event loop; the engine checks integrity and balances the books
 *  7. upload under a prefix that no other attempt uses, then the manifest; read both back (`uploadVersion`)
 *  8. flip the pointer by compare-and-swap: the only commit (`flipVersion`, `flipPointer`)
 *  9. raise `APPLIED`; 10. release the lease, and hint again if runs came meanwhile
 * A compactor deletes no object. I1 to I4 rest on steps 5 to 8, none of them on the lease.
 */
import { type CompactionBudget, excessError, findExcess } from "./compaction-budget.ts";
import { addLanes, lanesToHex, ZERO_LANES } from "./digest.ts";
import { flipVersion, raiseApplied } from "./flip-version.ts";
import type { DropRule } from "./fold.ts";
import type { CollectionIdentity, Exclusion, Pointer, Policy } from "./formats.ts";
import { nextExclusions } from "./next-exclusions.ts";
import { shardPartition } from "./object-keys.ts";
import {
  type CompactionPlan,
  openExclusionStart,
  type PlanOptions,
  planCompaction,
} from "./plan-compaction.ts";
import type {
  Lease,
  MergedSegment,
  MergeInput,
  Ports,
  SegmentOwner,
  ShardRef,
  Workbench,
} from "./ports.ts";
import { type ReceivedRun, receiveRuns } from "./receive-runs.ts";
import { countRows } from "./row.ts";
import { type LeaseOptions, underLease } from "./shard-lease.ts";
import { readShardState, type ShardState } from "./shard-state.ts";
import { assert, SiltError } from "./silt-error.ts";
import { unlessOvertaken } from "./snapshot-pointer.ts";
import { appliedAfter, type MergeOutput, uploadVersion } from "./upload-version.ts";

export interface CompactOptions extends LeaseOptions, PlanOptions {
  readonly onProgress?: (step: string, done: number, total: number) => void;
  /** Flip and change nothing, not even what is due: whatever was based on the current version can then only lose. */
  readonly fence?: boolean;
  /** What this pass may use; the free disk is looked at anyway. */
  readonly budget?: CompactionBudget | undefined;
}

export interface CompactReport {
  readonly outcome: "flipped" | "nothing-to-do" | "busy" | "lost";
  /** The current version afterwards: ours, or the one that others made. */
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
  /** Registered runs that the version lacks, as far as this pass has seen. */
  readonly behind: number;
}

/** Folds pending runs of one shard into a new version, once. Throws when the attempt fails; nothing is changed then. */
export async function compactShard(
  ports: Ports,
  identity: CollectionIdentity,
  policy: Policy,
  shard: ShardRef,
  options: CompactOptions,
): Promise<CompactReport> {
  const done = await underLease(ports, policy, shard, options, (lease, signal) =>
    compactUnderLease({ ports, identity, policy, shard, lease, options: { ...options, signal } }),
  );
  if (done.outcome === "held") return { ...unchanged("busy", done.pointer), holder: done.by };
  return done.value;
}

interface Attempt {
  readonly ports: Ports;
  readonly identity: CollectionIdentity;
  readonly policy: Policy;
  readonly shard: ShardRef;
  readonly lease: Lease;
  readonly options: CompactOptions & { readonly signal: AbortSignal };
}

function unchanged(
  outcome: CompactReport["outcome"],
  { version, appliedThrough }: Pointer,
  headSequence = appliedThrough,
): CompactReport {
  const behind = Math.max(0, headSequence - appliedThrough);
  const nothing = { rowsIn: 0, rowsOut: 0, superseded: 0, bytesWritten: 0, excluded: [] };
  return { outcome, version, appliedThrough, ...nothing, behind };
}

async function compactUnderLease(attempt: Attempt): Promise<CompactReport> {
  const { ports, policy, options, shard, lease } = attempt;
  const state = await readShardState(ports, lease, policy.compaction.runsMax);
  const { pointer } = state.base;
  // Whoever flipped last may have died before noting it.
  if (state.appliedVersion < pointer.version) await raiseApplied(ports, shard, pointer);
  const nowMs = ports.clock.nowMs();
  const { excluding } = state.head;
  const due = options.fence
    ? undefined
    : planCompaction(state.manifest, state.pending, policy.compaction, nowMs, options);
  const plan = due ?? (excluding !== null || options.fence ? planFence(state) : undefined);
  if (plan === undefined) return unchanged("nothing-to-do", pointer);
  return unlessOvertaken(ports.objects, shard, state.base, () => carryOut(attempt, state, plan));
}

/** Steps 5 to 9 of a plan. */
async function carryOut(
  attempt: Attempt,
  state: ShardState,
  plan: CompactionPlan,
): Promise<CompactReport> {
  const { ports, options, shard, lease } = attempt;
  await using workbench = await ports.engine.openWorkbench();
  await checkBudget(workbench, plan, shard, options.budget);

  const owner: SegmentOwner = { ...shard, vectors: attempt.identity.vectors };
  const received = await receiveRuns(ports, workbench, owner, plan.runs, state, options);
  const segments = await fetchSegments(attempt, workbench, owner, plan);
  const excluded = nextExclusions(state.manifest, received, plan.runs, ports.clock.nowMs());
  const parts = { plan, received, segments, excluded, state };
  const result = await merge(attempt, workbench, owner, parts);
  options.signal.throwIfAborted();

  const { vectors } = owner;
  const version = { state, plan, excluded, result };
  const next = await uploadVersion(ports, lease, vectors, version, options.onProgress);
  const excludes = excluded.length > state.manifest.excluded.length;
  const { signal } = options;
  const lostTo = await flipVersion(ports, lease, state, next, { excludes, signal });
  if (lostTo !== undefined) return unchanged("lost", lostTo, state.head.sequence);
  return report(attempt, state, received, result, next);
}

/**
 * A flip that changes nothing and costs a manifest, wherever it is made: a rewrite that is due is left to a
 * compaction, which looks at its budget. `HEAD.excluding` was left by someone who died around an exclusion's
 * flip; once this one is committed, whatever that flip was based on is gone and it can only lose.
 */
function planFence({ manifest }: ShardState): CompactionPlan {
  return { runs: [], kept: manifest.segments, merged: [], bytes: 0, deferrable: false };
}

async function checkBudget(
  workbench: Workbench,
  plan: CompactionPlan,
  shard: ShardRef,
  budget: CompactionBudget = {},
): Promise<void> {
  const free = await workbench.freeBytes();
  const diskBytes = Math.min(free, budget.diskBytes ?? free);
  const excess = findExcess(plan, { ...budget, diskBytes });
  if (excess !== undefined) throw excessError(shardPartition(shard), excess);
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

interface MergeParts {
  readonly plan: CompactionPlan;
  readonly received: readonly ReceivedRun[];
  readonly segments: readonly MergeInput[];
  readonly excluded: readonly Exclusion[];
  readonly state: ShardState;
}

interface MergedInputs extends MergeOutput {
  readonly inputs: readonly MergeInput[];
}

async function merge(
  { ports, options }: Attempt,
  workbench: Workbench,
  owner: SegmentOwner,
  parts: MergeParts,
): Promise<MergedInputs | undefined> {
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

function report(
  { ports, shard }: Attempt,
  state: ShardState,
  received: readonly ReceivedRun[],
  result: MergedInputs | undefined,
  next: Pointer,
): CompactReport {
  ports.metrics.count("Flips", 1, { collection: shard.collection });
  const { inputs = [], merged } = result ?? {};
  return {
    ...unchanged("flipped", next, state.head.sequence),
    rowsIn: inputs.reduce((sum, input) => sum + countRows(input.rows), 0),
    rowsOut: merged === undefined ? 0 : countRows(merged.rows),
    superseded: merged?.account.supersededRows ?? 0,
    bytesWritten: merged?.bytes ?? 0,
    excluded: received.flatMap((run) => {
      if (run.outcome === "sound") return [];
      const { runId, sequence } = run.run;
      return [{ runId, sequence, reason: run.reason }];
    }),
  };
}
