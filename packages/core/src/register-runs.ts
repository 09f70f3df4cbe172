/**
 * Registration: one transaction over everything that belongs together. Only when it is committed is
 * a write acknowledged. A lost answer never gives a run a second sequence number (F51).
 */
import { FORMAT, type ObjectRef, type Run } from "./formats.ts";
import { shardPartition } from "./object-keys.ts";
import type {
  CommitOutcome,
  GuardUpdate,
  Head,
  LogTransaction,
  Ports,
  ShardAppend,
  ShardRef,
} from "./ports.ts";
import type { RowCounts } from "./row.ts";
import { nextRunsHash } from "./run-chain.ts";
import { assert, isSiltError, SiltError } from "./silt-error.ts";

/** A delta that lies in the object store and waits for its sequence number. */
export interface RunDraft {
  readonly shard: ShardRef;
  readonly runId: string;
  readonly delta: ObjectRef;
  readonly rows: RowCounts;
  readonly replaced: number;
  readonly source: string | null;
  readonly retryOf: number | null;
}

export interface RegisteredRun {
  readonly runId: string;
  readonly collection: string;
  readonly shard: string;
  readonly sequence: number;
  readonly records: number;
}

export type RegisterOutcome =
  | { readonly outcome: "registered"; readonly runs: readonly RegisteredRun[] }
  /** A guard has another revision: read the source again and start over. */
  | { readonly outcome: "guard-moved" }
  /** Only with `heads`: a HEAD is no longer the one that the caller decided by. */
  | { readonly outcome: "head-moved" }
  /** The collector gave a bundle up: publish it again under a new run id. */
  | { readonly outcome: "abandoned"; readonly runId: string };

export interface RegisterOptions {
  /** Revisions that guards must still have, given the sequence numbers that the runs got. */
  readonly guards?: (runs: readonly RegisteredRun[]) => readonly GuardUpdate[];
  /** Register only on exactly these HEADs, one a shard (conditional deletes). */
  readonly heads?: ReadonlyMap<string, Head>;
}

const ATTEMPTS_MAX = 60;
const JITTER_MS_FIRST = 5;
const JITTER_MS_MAX = 1_000;

/** Registers drafts and guard updates in one transaction, trying again until it is clear what happened. */
export async function registerRuns(
  ports: Ports,
  drafts: readonly RunDraft[],
  options: RegisterOptions = {},
): Promise<RegisterOutcome> {
  const shards = distinctShards(drafts);
  let heads = options.heads ?? (await readHeadsOf(ports, shards));
  let unclear = false;
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const plan = planRegistration(
      drafts,
      heads,
      options,
      new Date(ports.clock.nowMs()).toISOString(),
    );
    let outcome: CommitOutcome;
    try {
      outcome = await ports.log.commit(plan.transaction);
    } catch (error) {
      const mayPass = isSiltError(error, "unavailable") && error.details?.denied !== true;
      if (!mayPass || attempt === ATTEMPTS_MAX) throw error;
      // The transaction may have been committed although its answer was lost.
      unclear = true;
      const known = await findAfterFailure(ports, drafts);
      if (known !== undefined) return { outcome: "registered", runs: known };
      await pause(ports, attempt);
      continue;
    }
    switch (outcome.outcome) {
      case "committed":
        return { outcome: "registered", runs: plan.runs };
      case "run-known": {
        if (outcome.state.state === "abandoned")
          return { outcome: "abandoned", runId: outcome.runId };
        const known = await findRegistered(ports, drafts);
        assert(known !== undefined, `run ${outcome.runId} is registered`);
        return { outcome: "registered", runs: known };
      }
      case "guard-moved":
        return { outcome: "guard-moved" };
      case "no-head":
        throw new SiltError(
          "corrupt",
          `Cannot register a run of "${shardPartition(outcome.shard)}": the log has no HEAD for it; ` +
            "the log does not belong to this store",
        );
      case "below-floor":
        throw new SiltError(
          unclear ? "unavailable" : "conflict",
          `Cannot register run "${outcome.runId}": it is older than the log keeps (floor ${outcome.floor})` +
            (unclear
              ? "; whether an earlier attempt was registered is unknown"
              : "; write it again"),
        );
      case "head-moved": {
        if (options.heads !== undefined) return { outcome: "head-moved" };
        // The HEAD that refused us is old after the pause: a read is cheaper than another refusal.
        await pause(ports, attempt);
        heads = await readHeadsOf(ports, shards);
      }
    }
  }
  throw new SiltError(
    "unavailable",
    `Cannot register ${drafts.length} runs: other writers were faster ${ATTEMPTS_MAX} times; try again`,
  );
}

/** Full jitter in a window that doubles: many writers on one HEAD must spread. */
async function pause(ports: Ports, attempt: number): Promise<void> {
  const window = Math.min(JITTER_MS_MAX, JITTER_MS_FIRST * 2 ** Math.min(attempt, 10));
  await ports.clock.sleep(ports.random.fraction() * window);
}

function distinctShards(drafts: readonly RunDraft[]): readonly ShardRef[] {
  return [...new Map(drafts.map((draft) => [shardPartition(draft.shard), draft.shard])).values()];
}

async function readHeadsOf(
  ports: Ports,
  shards: readonly ShardRef[],
): Promise<ReadonlyMap<string, Head>> {
  const heads = await ports.log.readHeads(shards);
  return new Map(
    shards.map((shard, index) => {
      const head = heads[index];
      if (head !== undefined) return [shardPartition(shard), head];
      throw new SiltError(
        "corrupt",
        `Cannot register a run of "${shardPartition(shard)}": the log has no HEAD for it; ` +
          "the log does not belong to this store",
      );
    }),
  );
}

/** {@link findRegistered}, while the log may still be down: committing again finds out as well. */
async function findAfterFailure(
  ports: Pick<Ports, "log">,
  drafts: readonly RunDraft[],
): Promise<readonly RegisteredRun[] | undefined> {
  try {
    return await findRegistered(ports, drafts);
  } catch (error) {
    if (!isSiltError(error, "unavailable")) throw error;
    return undefined;
  }
}

/** The runs of drafts that are registered already; they were all, or none was (undefined). */
export async function findRegistered(
  ports: Pick<Ports, "log">,
  drafts: readonly RunDraft[],
): Promise<readonly RegisteredRun[] | undefined> {
  if (drafts.length === 0) return undefined;
  const states = await ports.log.readRunIds(drafts);
  const runs: RegisteredRun[] = [];
  for (const [index, draft] of drafts.entries()) {
    const state = states[index];
    if (state?.state === "registered") runs.push(registeredOf(draft, state.sequence));
  }
  return runs.length === drafts.length ? runs : undefined;
}

function registeredOf(draft: RunDraft, sequence: number): RegisteredRun {
  const { put, patch, delete: deletes } = draft.rows;
  return {
    runId: draft.runId,
    collection: draft.shard.collection,
    shard: draft.shard.shard,
    sequence,
    records: put + patch + deletes,
  };
}

/** Pure: what to commit on top of these HEADs. */
export function planRegistration(
  drafts: readonly RunDraft[],
  heads: ReadonlyMap<string, Head>,
  options: Pick<RegisterOptions, "guards">,
  registeredAt: string,
): { readonly transaction: LogTransaction; readonly runs: readonly RegisteredRun[] } {
  const companions = drafts.map(({ shard, runId }) => ({
    collection: shard.collection,
    shard: shard.shard,
    runId,
  }));
  const appends = new Map<string, ShardAppend>();
  const runs: RegisteredRun[] = [];
  for (const draft of drafts) {
    const partition = shardPartition(draft.shard);
    const expected = heads.get(partition);
    assert(expected !== undefined, `HEAD of ${partition} is known`);
    const before = appends.get(partition) ?? {
      shard: draft.shard,
      expected,
      next: expected,
      runs: [],
    };
    const sequence = before.next.sequence + 1;
    const runsHash = nextRunsHash(before.next.runsHash, draft.runId);
    const { shard, ...rest } = draft;
    const run: Run = {
      format: FORMAT,
      requires: [],
      sequence,
      ...rest,
      companions: companions.filter((companion) => companion.runId !== draft.runId),
      registeredAt,
      runsHash,
    };
    const next = { ...before.next, sequence, runsHash };
    appends.set(partition, { shard, expected, next, runs: [...before.runs, run] });
    runs.push(registeredOf(draft, sequence));
  }
  const guards = options.guards?.(runs) ?? [];
  return { transaction: { appends: [...appends.values()], guards }, runs };
}
