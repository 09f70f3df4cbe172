/**
 * The collector of one shard. It deletes nothing that a version, a pin, a commit of unknown outcome, a
 * running compaction or an unfinished registration needs (I6), whoever else is at work and whatever clocks say:
 *  1. read the policy, the history (`readHistory`) and the log, and check that they belong together
 *  2. look for what nothing needs, and store that as a plan (`collector-plan.ts`), also in a dry run; it
 *     carries on what earlier plans saw, and takes their place
 *  3. what plans have named for as long as the grace, is looked at again:
 *     - versions beyond retention are retired, oldest first; a pin refuses
 *     - the history is read AGAIN. Objects of versions up to the pointer's go if no version that is left
 *       lists them: a later flip on an old base must fail, so nobody can come to need them
 *     - a bundle without registration goes once its run id is abandoned for good
 *     - bundles that are applied go by the age that the policy names
 *  On an idle shard, leftovers of an attempt at the next version are fenced first, by a flip that changes nothing.
 */
import { openCollection } from "./collection.ts";
import {
  type Candidate,
  type PlannedCandidate,
  readPlans,
  type StoredPlan,
  storePlan,
} from "./collector-plan.ts";
import { compactShard } from "./compact-shard.ts";
import {
  type CollectorView,
  candidateReason,
  findCandidates,
  viewForCollector,
} from "./find-candidates.ts";
import type { CollectionIdentity, Policy } from "./formats.ts";
import { type History, objectsOf, readHistory, versionName } from "./history.ts";
import { manifestKey, runIdOfKey, versionOfKey } from "./object-keys.ts";
import type { Ports, RunIdState, ShardRef } from "./ports.ts";
import { expiredVersions } from "./retention.ts";
import { checkBelongTogether, checkChain } from "./shard-state.ts";
import { SiltError } from "./silt-error.ts";

export interface CollectOptions {
  /** Names the process in leases and messages. */
  readonly holder: string;
  /** False: a plan alone. */
  readonly delete: boolean;
  /** Ends the pass: it throws, or, once it gives up versions or deletes, reports what it has done. */
  readonly signal?: AbortSignal | undefined;
}

export interface CollectReport {
  readonly planId: string;
  /** What nothing needs, why, and since when; `ripe` when its grace is over. */
  readonly candidates: readonly (PlannedCandidate & { readonly ripe: boolean })[];
  readonly deleted: readonly Candidate[];
  /** Versions given up by this pass. */
  readonly retired: readonly number[];
  readonly abandoned: number;
  readonly fenced: boolean;
  readonly graceMs: number;
}

/** One pass over a shard. Throws `corrupt`, with nothing deleted, when anything about it is not sound. */
export async function collectShard(
  ports: Ports,
  identity: CollectionIdentity,
  shard: ShardRef,
  options: CollectOptions,
): Promise<CollectReport> {
  const { signal } = options;
  const earlier = await readPlans(ports, shard);
  const before = await look(ports, shard, signal);
  const candidates = await findCandidates(ports, shard, before.view, signal);
  const plan = await storePlan(ports, shard, candidates, earlier);
  const { graceMs } = before.policy.retention;
  const isRipe = ({ sinceMs }: PlannedCandidate) => sinceMs + graceMs <= plan.storedAtMs;
  const planned = plan.candidates.map((candidate) => ({ ...candidate, ripe: isRipe(candidate) }));
  const report = { planId: plan.planId, candidates: planned, graceMs };
  await deletePlans(ports, earlier.keys, plan);
  const nothing = { deleted: [], abandoned: 0 };
  if (!options.delete) return { ...report, ...nothing, retired: [], fenced: false };

  const ripe = plan.candidates.filter(isRipe);
  const fenced = await fenceIfIdle(ports, identity, shard, before, ripe, options);
  const work = { ports, shard, signal };
  const retired = await retireVersions(work, before.view, ripe);
  // Only what is seen after versions were given up counts: a rollback may have been faster (rule 2).
  const after = await lookAgain(work, retired);
  const done = after === undefined ? nothing : await deleteRipe(work, after.view, ripe);
  return { ...report, ...done, retired, fenced };
}

interface Look {
  readonly policy: Policy;
  readonly view: CollectorView;
  /** Registered runs that the current version lacks. */
  readonly pending: number;
}

/** Policy, history and log at one moment, if they belong together; the policy is never older than the grace. */
async function look(ports: Ports, shard: ShardRef, signal: AbortSignal | undefined): Promise<Look> {
  signal?.throwIfAborted();
  const opened = await openCollection(ports, shard.collection);
  if (opened?.identity.storeId !== shard.storeId) {
    throw new SiltError(
      "conflict",
      `Cannot collect "${shard.collection}" ${shard.shard}: the collection is another one by now`,
    );
  }
  const { policy } = opened;
  const applied = await ports.log.readApplied(shard);
  const history = await readHistory(ports, shard, { signal });
  const { pointer } = history.read;
  const head = await ports.log.readHead(shard);
  checkBelongTogether(shard, pointer, head, applied?.version ?? 0);
  const { runsMax } = policy.compaction;
  const runs = await ports.log.readRuns(shard, { after: pointer.appliedThrough, limit: runsMax });
  checkChain(shard, pointer, head, runs);
  const view = await viewForCollector(ports, shard, history, policy.retention);
  return { policy, view, pending: head.sequence - pointer.appliedThrough };
}

/** Undefined when the pass is to end, but has given up versions that must be told. */
async function lookAgain(
  { ports, shard, signal }: Work,
  retired: readonly number[],
): Promise<Look | undefined> {
  try {
    return await look(ports, shard, signal);
  } catch (error) {
    if (retired.length === 0 || !signal?.aborted || error !== signal.reason) throw error;
    return undefined;
  }
}

/** Leftovers of an attempt at the next version can't be told from one at work, until that number is taken. */
async function fenceIfIdle(
  ports: Ports,
  identity: CollectionIdentity,
  shard: ShardRef,
  { policy, view, pending }: Look,
  ripe: readonly Candidate[],
  { holder, signal }: CollectOptions,
): Promise<boolean> {
  const { version } = view.history.read.pointer;
  const isAhead = ({ key }: Candidate) => (versionOfKey(shard, key)?.version ?? 0) > version;
  // With runs pending a compaction is due anyway, and takes the number.
  if (pending > 0 || !ripe.some(isAhead)) return false;
  const options = { holder, fence: true, ...(signal && { signal }) };
  const report = await compactShard(ports, identity, policy, shard, options);
  return report.outcome === "flipped";
}

interface Work {
  readonly ports: Ports;
  readonly shard: ShardRef;
  readonly signal: AbortSignal | undefined;
}

/**
 * Gives up the versions that are ripe, oldest first, up to the first that is not: so that each version
 * that is left can be reached, by the chain or by an item of the log.
 */
async function retireVersions(
  { ports, shard, signal }: Work,
  view: CollectorView,
  ripe: readonly Candidate[],
): Promise<readonly number[]> {
  const { history, retention, nowMs } = view;
  const names = new Set(ripe.map(({ key }) => key));
  const retired: number[] = [];
  for (const { ref } of expiredVersions(history.versions, retention, nowMs)) {
    // What is given up is told, whatever is left; with nothing to tell, the next look throws.
    if (signal?.aborted || !names.has(ref.manifest.key)) break;
    // One that was pinned since has an item in the log: younger ones may still go before it.
    const { outcome } = await ports.log.retireVersion(shard, ref);
    if (outcome === "retired") retired.push(ref.version);
  }
  return retired;
}

/** Looks at each candidate again, and deletes it: of a version the manifest last. */
async function deleteRipe(
  work: Work,
  view: CollectorView,
  ripe: readonly Candidate[],
): Promise<{ readonly deleted: readonly Candidate[]; readonly abandoned: number }> {
  const { ports, shard, signal } = work;
  const isManifest = ({ key }: Candidate) => {
    const version = versionOfKey(shard, key);
    return version !== undefined && key === manifestKey(shard, version.version, version.commitId);
  };
  // Also what is beyond retention, but not given up yet: it can still be pinned and rolled back to.
  const listed = objectsOf(view.history.versions);
  const ordered = [...ripe.filter((one) => !isManifest(one)), ...ripe.filter(isManifest)];
  const deleted: Candidate[] = [];
  let abandoned = 0;
  for (const candidate of ordered) {
    // What is deleted is told, whatever is left.
    if (signal?.aborted) break;
    const verdict = await judgeAgain(work, view, listed, candidate);
    if (verdict === "keep") continue;
    if (verdict === "abandoned") abandoned += 1;
    await ports.objects.delete(candidate.key);
    deleted.push(candidate);
  }
  return { deleted, abandoned };
}

async function judgeAgain(
  work: Work,
  view: CollectorView,
  listed: ReadonlySet<string>,
  { key }: Candidate,
): Promise<"keep" | "delete" | "abandoned"> {
  const { ports, shard } = work;
  const runId = runIdOfKey(shard, key);
  if (runId === undefined)
    return (await isGivenUp(work, view.history, listed, key)) ? "delete" : "keep";
  const [state] = await ports.log.readRunIds([{ shard, runId }]);
  if (state?.state !== "registered") {
    return (await ports.log.abandonRun(shard, runId)) === "abandoned" ? "abandoned" : "keep";
  }
  return (await isStillSpent(work, view, key, state)) ? "delete" : "keep";
}

async function isStillSpent(
  { ports, shard }: Work,
  view: CollectorView,
  key: string,
  state: RunIdState,
): Promise<boolean> {
  const head = await ports.objects.head(key);
  if (head.outcome === "absent") return false;
  const { modifiedAtMs } = head;
  return candidateReason(shard, view, { key, modifiedAtMs }, state) === "applied";
}

/** True for an object of a version, or an attempt at one, that nobody can come to need. */
async function isGivenUp(
  { ports, shard }: Work,
  { read, versions }: History,
  listed: ReadonlySet<string>,
  key: string,
): Promise<boolean> {
  const version = versionOfKey(shard, key);
  if (version === undefined || version.version > read.pointer.version || listed.has(key)) {
    return false;
  }
  const name = versionName(version);
  if (versions.some(({ ref }) => versionName(ref) === name)) return false;
  return (await ports.log.retireVersion(shard, version)).outcome === "retired";
}

async function deletePlans(
  { objects }: Ports,
  keys: readonly string[],
  { planId }: StoredPlan,
): Promise<void> {
  for (const key of keys) if (!key.includes(planId)) await objects.delete(key);
}
