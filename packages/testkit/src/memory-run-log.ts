import {
  type Applied,
  assert,
  type CommitOutcome,
  canonicalJson,
  type Guard,
  type GuardKey,
  type Head,
  type LogTransaction,
  type Run,
  type RunIdState,
  type RunLog,
  type ShardRef,
  SiltError,
  shardPartition,
} from "@silt/core";

interface ShardState {
  head: Head | undefined;
  applied: Applied | undefined;
  readonly runs: Run[];
  readonly runIds: Map<string, RunIdState>;
}

const guardKey = ({ family, uri }: GuardKey) => `${family} ${uri}`;
const byUtf8 = (a: Guard, b: Guard) => Buffer.compare(Buffer.from(a.uri), Buffer.from(b.uri));

class LogState {
  readonly guards = new Map<string, Guard>();
  readonly #shards = new Map<string, ShardState>();

  of(shard: ShardRef): ShardState {
    const partition = shardPartition(shard);
    let state = this.#shards.get(partition);
    if (state === undefined) {
      state = { head: undefined, applied: undefined, runs: [], runIds: new Map() };
      this.#shards.set(partition, state);
    }
    return state;
  }

  runId(shard: ShardRef, runId: string): RunIdState {
    return this.of(shard).runIds.get(runId) ?? { state: "absent" };
  }
}

/** The first condition that fails, in the order that the port promises. */
function refusalOf(log: LogState, { appends, guards }: LogTransaction): CommitOutcome | undefined {
  const found = appends.map((append) => ({ ...append, head: log.of(append.shard).head }));
  for (const { shard, head } of found) {
    if (head === undefined) return { outcome: "no-head", shard };
  }
  for (const { shard, runs } of appends) {
    for (const { runId } of runs) {
      const state = log.runId(shard, runId);
      if (state.state !== "absent") return { outcome: "run-known", runId, state };
    }
  }
  for (const { runs, head } of found) {
    const { floor } = head as Head;
    for (const { runId } of runs)
      if (runId < floor) return { outcome: "below-floor", runId, floor };
  }
  for (const { expectedRev, next } of guards) {
    const guard = log.guards.get(guardKey(next));
    if ((guard?.rev ?? 0) !== expectedRev) return { outcome: "guard-moved", guard };
  }
  for (const { shard, expected, head } of found) {
    if (canonicalJson(head) !== canonicalJson(expected)) {
      return { outcome: "head-moved", shard, head: head as Head };
    }
  }
  return undefined;
}

/** A RunLog in Maps; each method acts in one step. */
export function createMemoryRunLog(): RunLog {
  const log = new LogState();
  return {
    async createShard(shard, head) {
      const state = log.of(shard);
      if (state.head !== undefined) return "exists";
      state.head = head;
      return "created";
    },
    readHead: async (shard) => log.of(shard).head,
    readHeads: async (asked) => asked.map((shard) => log.of(shard).head),
    async commit(transaction) {
      checkTransaction(transaction);
      const refusal = refusalOf(log, transaction);
      if (refusal !== undefined) return refusal;
      for (const { shard, next, runs } of transaction.appends) {
        const state = log.of(shard);
        state.head = next;
        for (const run of runs) {
          state.runs.push(structuredClone(run));
          state.runIds.set(run.runId, { state: "registered", sequence: run.sequence });
        }
      }
      for (const { next } of transaction.guards)
        log.guards.set(guardKey(next), structuredClone(next));
      return { outcome: "committed" };
    },
    readRuns: async (shard, { after, limit }) =>
      log
        .of(shard)
        .runs.filter((run) => run.sequence > after)
        .slice(0, limit),
    readRunIds: async (keys) => keys.map(({ shard, runId }) => log.runId(shard, runId)),
    async abandonRun(shard, runId) {
      if (log.runId(shard, runId).state === "registered") return "registered";
      log.of(shard).runIds.set(runId, { state: "abandoned" });
      return "abandoned";
    },
    readApplied: async (shard) => log.of(shard).applied,
    async raiseApplied(shard, applied) {
      const state = log.of(shard);
      if (state.applied === undefined || applied.version > state.applied.version) {
        state.applied = applied;
      }
    },
    async setExcluding(shard, excluding) {
      const state = log.of(shard);
      if (state.head === undefined) {
        throw new SiltError(
          "corrupt",
          `Cannot use shard "${shardPartition(shard)}": it has no HEAD`,
        );
      }
      const excludeRev = state.head.excludeRev + (excluding ? 0 : 1);
      state.head = { ...state.head, excluding, excludeRev };
    },
    readGuard: async (key) => log.guards.get(guardKey(key)),
    listGuards: async (family, { after, limit }) =>
      [...log.guards.values()]
        .filter((guard) => guard.family === family)
        .sort(byUtf8)
        .filter(
          ({ uri }) => after === undefined || Buffer.from(uri).compare(Buffer.from(after)) > 0,
        )
        .slice(0, limit),
  };
}

function checkTransaction({ appends }: LogTransaction): void {
  const partitions = new Set(appends.map(({ shard }) => shardPartition(shard)));
  assert(partitions.size === appends.length, "a transaction appends to a shard once");
  for (const { expected, next, runs } of appends) {
    for (const [index, run] of runs.entries()) {
      assert(run.sequence === expected.sequence + 1 + index, `run ${run.runId} is consecutive`);
    }
    assert(next.sequence === expected.sequence + runs.length, "HEAD ends at its last run");
  }
}
