/**
 * Rolling a shard back: a new version with the segments of an old one. `appliedThrough` stays, and the
 * runs since then are excluded for good, so that no compaction brings them back (F56); runs that are
 * pending still apply.
 *  1. take the lease, read the state; 2. find the target, which must not hold what is excluded today
 *  3. pin it, so that the collector can't take it meanwhile; 4. flip like any other version
 *  5. unpin only when the flip is resolved: a pin that is left goes by the sweep, once another version stands
 */

import { checkNote } from "./check-note.ts";
import { flipVersion } from "./flip-version.ts";
import type { CollectionIdentity, Exclusion, Policy, Run } from "./formats.ts";
import { findVersion, type KnownVersion, readHistory } from "./history.ts";
import { holdVersion, ROLLBACK_OWNER_PREFIX } from "./pin-version.ts";
import type { Lease, Ports, ShardRef } from "./ports.ts";
import { type LeaseOptions, underLease } from "./shard-lease.ts";
import { readShardState, type ShardState } from "./shard-state.ts";
import { isSiltError, SiltError } from "./silt-error.ts";
import { unlessOvertaken } from "./snapshot-pointer.ts";
import { uploadVersion } from "./upload-version.ts";

const RUNS_PAGE = 1_000;

export interface RollbackOptions extends LeaseOptions {
  readonly toVersion: number;
  /** Refuse unless this is the current version: what the caller has looked at. */
  readonly baseVersion?: number | undefined;
  readonly reason?: string | undefined;
}

export type RollbackReport =
  | {
      readonly outcome: "rolled-back";
      /** The new version, with the content of the old one. */
      readonly version: number;
      readonly from: number;
      readonly to: number;
      readonly appliedThrough: number;
      /** The runs that are undone, oldest first. */
      readonly undone: readonly Run[];
    }
  | { readonly outcome: "busy"; readonly holder: string }
  | { readonly outcome: "lost"; readonly version: number };

/** Makes a new version with the content of an old one. Throws `invalid` for a target that cannot be. */
export async function rollbackShard(
  ports: Ports,
  identity: CollectionIdentity,
  policy: Policy,
  shard: ShardRef,
  options: RollbackOptions,
): Promise<RollbackReport> {
  checkNote(`roll "${shard.collection}" back`, "reason", options.reason ?? "");
  const isRefusal = (error: unknown) => isSiltError(error, "invalid");
  const asked = { ...options, isRefusal };
  const done = await underLease(ports, policy, shard, asked, async (lease, signal) => {
    const state = await readShardState(ports, lease, policy.compaction.runsMax);
    return unlessOvertaken(ports.objects, shard, state.base, () =>
      rollback(ports, identity, lease, state, { ...options, signal }),
    );
  });
  return done.outcome === "held" ? { outcome: "busy", holder: done.by } : done.value;
}

async function rollback(
  ports: Ports,
  identity: CollectionIdentity,
  lease: Lease,
  state: ShardState,
  options: RollbackOptions & { readonly signal: AbortSignal },
): Promise<RollbackReport> {
  const { shard } = lease;
  const { pointer } = state.base;
  const target = await findTarget(ports, shard, state, options);
  const undone = await runsAfter(
    ports,
    shard,
    target.manifest.appliedThrough,
    pointer.appliedThrough,
  );
  const excluded = exclusionsAfter(state, target, undone, options, ports.clock.nowMs());
  const { segments } = target.manifest;
  const plan = { runs: [], kept: segments, merged: [], bytes: 0, deferrable: false };
  const version = { state, plan, excluded, result: undefined };
  const next = await uploadVersion(ports, lease, identity.vectors, version);

  const owner = `${ROLLBACK_OWNER_PREFIX}${next.commitId}`;
  const pinnedAt = new Date(ports.clock.nowMs()).toISOString();
  const reason = `a rollback of version ${pointer.version} is at work`;
  const pin = { owner, reason, pinnedAt, baseVersion: pointer.version };
  await holdVersion(ports, shard, target.ref, pin);
  const { signal } = options;
  const lostTo = await flipVersion(ports, lease, state, next, { excludes: true, signal });
  await letGo(ports, shard, target, owner);
  if (lostTo !== undefined) return { outcome: "lost", version: lostTo.version };
  return {
    outcome: "rolled-back",
    version: next.version,
    from: pointer.version,
    to: target.ref.version,
    appliedThrough: next.appliedThrough,
    undone,
  };
}

async function findTarget(
  ports: Ports,
  shard: ShardRef,
  { base, manifest }: ShardState,
  { toVersion, baseVersion }: RollbackOptions,
): Promise<KnownVersion> {
  const refuse = (kind: "invalid" | "conflict", state: string): never => {
    throw new SiltError(
      kind,
      `Cannot roll "${shard.collection}" ${shard.shard} back to version ${toVersion}: ${state}`,
    );
  };
  const { version } = base.pointer;
  if (baseVersion !== undefined && baseVersion !== version) {
    refuse("conflict", `the current version is ${version}, expected ${baseVersion}; look again`);
  }
  if (toVersion >= version) {
    refuse("invalid", `the current version is ${version}, expected an older one`);
  }
  const target = findVersion(shard, await readHistory(ports, shard), toVersion);
  const back = manifest.excluded.find(
    ({ from }) =>
      from <= target.manifest.appliedThrough && !isExcludedIn(target.manifest.excluded, from),
  );
  if (back !== undefined) {
    refuse(
      "invalid",
      `it holds run ${back.from}, which is excluded since (${back.reason}); choose a version before that run`,
    );
  }
  return target;
}

const isExcludedIn = (excluded: readonly Exclusion[], sequence: number): boolean =>
  excluded.some(({ from, to }) => from <= sequence && sequence <= to);

/** The exclusions of today, and one for each gap between them that the target does not hold. */
export function exclusionsAfter(
  { base, manifest }: Pick<ShardState, "base" | "manifest">,
  target: KnownVersion,
  undone: readonly Run[],
  { reason }: Pick<RollbackOptions, "reason">,
  nowMs: number,
): readonly Exclusion[] {
  const told = `rolled back from version ${base.pointer.version} to ${target.ref.version}${reason ? `: ${reason}` : ""}`;
  const excludedAt = new Date(nowMs).toISOString();
  const gone = new Set(undone.map(({ runId }) => runId));
  // What a run brought back that is undone now is missing again, and for good.
  const inherited = manifest.excluded.map(
    (exclusion): Exclusion =>
      exclusion.retriedBy !== null && gone.has(exclusion.retriedBy)
        ? { ...exclusion, cause: "rollback", reason: told, excludedAt, retriedBy: null }
        : exclusion,
  );
  const added: Exclusion[] = [];
  for (const { sequence, runId } of undone) {
    if (isExcludedIn(manifest.excluded, sequence)) continue;
    const last = added.at(-1);
    if (last?.to === sequence - 1) {
      added[added.length - 1] = { ...last, to: sequence, runIds: [...last.runIds, runId] };
    } else {
      const range = { from: sequence, to: sequence, runIds: [runId] };
      added.push({ ...range, cause: "rollback", reason: told, excludedAt, retriedBy: null });
    }
  }
  return [...inherited, ...added];
}

async function runsAfter(
  { log }: Ports,
  shard: ShardRef,
  after: number,
  through: number,
): Promise<readonly Run[]> {
  const runs: Run[] = [];
  for (let at = after; at < through; at = runs.at(-1)?.sequence ?? through) {
    const limit = Math.min(RUNS_PAGE, through - at);
    const page = await log.readRuns(shard, { after: at, limit });
    if (page[0]?.sequence !== at + 1) {
      throw new SiltError(
        "corrupt",
        `Cannot roll "${shard.collection}" ${shard.shard} back: run ${at + 1} is missing in the log; run "silt verify"`,
      );
    }
    runs.push(...page);
  }
  return runs;
}

/** The pin has done its work; one that stays because the log is down goes by the sweep. */
async function letGo(
  ports: Ports,
  shard: ShardRef,
  { ref }: KnownVersion,
  owner: string,
): Promise<void> {
  try {
    await ports.log.unpinVersion(shard, ref, owner);
  } catch (error) {
    if (!isSiltError(error, "unavailable")) throw error;
    ports.logger.log("warn", "pin of a rollback left", { version: ref.version, owner });
  }
}
