import {
  type Applied,
  type CommitOutcome,
  canonicalJson,
  checkTransaction,
  type Guard,
  type GuardKey,
  type Head,
  type LogTransaction,
  pinItem,
  type Run,
  type RunIdState,
  type RunLog,
  retireItem,
  type ShardRef,
  SiltError,
  shardPartition,
  unpinItem,
  type VersionItem,
  type VersionItemChange,
  type VersionKey,
} from "@silt/core";

interface ShardState {
  head: Head | undefined;
  applied: Applied | undefined;
  readonly runs: Run[];
  readonly runIds: Map<string, RunIdState>;
  /** By {@link versionName}. */
  readonly versions: Map<string, VersionItem>;
}

const versionName = ({ version, commitId }: VersionKey) =>
  `${String(version).padStart(16, "0")}-${commitId}`;

const guardKey = ({ family, uri }: GuardKey) => `${family} ${uri}`;
const byUtf8 = (a: Guard, b: Guard) => Buffer.compare(Buffer.from(a.uri), Buffer.from(b.uri));

class LogState {
  readonly guards = new Map<string, Guard>();
  readonly #shards = new Map<string, ShardState>();

  of(shard: ShardRef): ShardState {
    const partition = shardPartition(shard);
    let state = this.#shards.get(partition);
    if (state === undefined) {
      state = {
        head: undefined,
        applied: undefined,
        runs: [],
        runIds: new Map(),
        versions: new Map(),
      };
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

function headOf(log: LogState, shard: ShardRef): Head {
  const { head } = log.of(shard);
  if (head !== undefined) return head;
  throw new SiltError("corrupt", `Cannot use shard "${shardPartition(shard)}": it has no HEAD`);
}

/** The log's items about versions. */
function versionMethods(
  log: LogState,
): Pick<RunLog, "pinVersion" | "unpinVersion" | "retireVersion" | "listVersions"> {
  const change = <Answer>(
    shard: ShardRef,
    key: VersionKey,
    decide: (found: VersionItem | undefined) => VersionItemChange<Answer>,
  ): Answer => {
    const { versions } = log.of(shard);
    const { answer, item } = decide(versions.get(versionName(key)));
    if (item !== undefined) versions.set(versionName(key), item);
    return answer;
  };
  return {
    pinVersion: async (shard, version, pin) =>
      change(shard, version, (item) => pinItem(item, version, pin)),
    unpinVersion: async (shard, key, owner) => change(shard, key, (item) => unpinItem(item, owner)),
    retireVersion: async (shard, key) => change(shard, key, (item) => retireItem(item, key)),
    async listVersions(shard, { after, limit }) {
      const { versions } = log.of(shard);
      const names = [...versions.keys()].sort();
      const first = after === undefined ? "" : versionName(after);
      return names
        .filter((name) => name > first)
        .slice(0, limit)
        .map((name) => versions.get(name) as VersionItem);
    },
  };
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
    async announceExclusion(shard, commitId) {
      log.of(shard).head = { ...headOf(log, shard), excluding: commitId };
    },
    async resolveExclusion(shard, commitId) {
      const head = headOf(log, shard);
      const excluding = head.excluding === commitId ? null : head.excluding;
      log.of(shard).head = { ...head, excluding, excludeRev: head.excludeRev + 1 };
    },
    ...versionMethods(log),
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
