/** The run log in SQLite: each commit is one BEGIN IMMEDIATE that checks everything, then writes. */
import {
  type Applied,
  type CommitOutcome,
  canonicalJson,
  checkTransaction,
  type Guard,
  type GuardKey,
  type Head,
  type LogTransaction,
  parseGuard,
  parseRun,
  type Run,
  type RunIdState,
  type RunLog,
  type ShardRef,
  SiltError,
  shardPartition,
} from "@silt/core";
import type { SqliteConnection } from "./sqlite-connection.ts";
import { createSqliteVersionItems } from "./sqlite-version-items.ts";

export interface SqliteRunLogOptions {
  /** Makes the shard's pointer durable: APPLIED must never be ahead of it after a power loss. */
  readonly syncShard: (shard: ShardRef) => void;
}

/** A RunLog in the tables of `log.sqlite`. */
export function createSqliteRunLog(db: SqliteConnection, options: SqliteRunLogOptions): RunLog {
  const readHead = (shard: ShardRef) => db.read("read HEAD", () => headOf(db, shard));
  return {
    createShard: (shard, head) => db.write("create HEAD", () => insertHead(db, shard, head)),
    readHead,
    readHeads: (shards) => db.read("read HEADs", () => shards.map((shard) => headOf(db, shard))),
    async commit(transaction) {
      checkTransaction(transaction);
      return db.write("commit runs", (): CommitOutcome => {
        const refusal = refusalOf(db, transaction);
        if (refusal !== undefined) return refusal;
        apply(db, transaction);
        return { outcome: "committed" };
      });
    },
    readRuns: (shard, page) => db.read("read runs", () => runsOf(db, shard, page)),
    readRunIds: (keys) =>
      db.read("read run ids", () => keys.map(({ shard, runId }) => runIdState(db, shard, runId))),
    abandonRun: (shard, runId) =>
      db.write("abandon a run", () => {
        if (runIdState(db, shard, runId).state === "registered") return "registered";
        db.run(
          "INSERT INTO run_ids (partition, run_id, sequence) VALUES (?, ?, NULL) ON CONFLICT DO NOTHING",
          shardPartition(shard),
          runId,
        );
        return "abandoned";
      }),
    readApplied: (shard) => db.read("read APPLIED", () => appliedOf(db, shard)),
    async raiseApplied(shard, applied) {
      options.syncShard(shard);
      await db.write("raise APPLIED", () =>
        db.run(
          "INSERT INTO applied (partition, version, applied_through) VALUES (?, ?, ?) " +
            "ON CONFLICT (partition) DO UPDATE SET version = excluded.version, " +
            "applied_through = excluded.applied_through WHERE excluded.version > applied.version",
          shardPartition(shard),
          applied.version,
          applied.appliedThrough,
        ),
      );
    },
    ...exclusionMethods(db),
    ...createSqliteVersionItems(db),
    audit: () => db.audit(),
    readGuard: (key) => db.read("read a guard", () => guardOf(db, key)),
    listGuards: (family, page) =>
      db.read("list guards", () => {
        const rows = db.all<{ guard: string }>(
          "SELECT guard FROM sound_guards WHERE family = ? AND uri > ? ORDER BY uri LIMIT ?",
          family,
          page.after ?? "",
          page.limit,
        );
        return rows.map((row) => parseGuard(Buffer.from(row.guard), `a guard of "${family}"`));
      }),
  };
}

function exclusionMethods(
  db: SqliteConnection,
): Pick<RunLog, "announceExclusion" | "resolveExclusion"> {
  const changeHead = async (action: string, change: string, shard: ShardRef, commitId: string) => {
    const changed = await db.write(action, () =>
      db.run(`UPDATE heads SET ${change} WHERE partition = ?`, commitId, shardPartition(shard)),
    );
    if (changed === 0) throw headGone(shard);
  };
  const resolved = "excluding = nullif(excluding, ?), exclude_rev = exclude_rev + 1";
  return {
    announceExclusion: (shard, commitId) =>
      changeHead("announce an exclusion", "excluding = ?", shard, commitId),
    resolveExclusion: (shard, commitId) =>
      changeHead("resolve an exclusion", resolved, shard, commitId),
  };
}

function headGone(shard: ShardRef): SiltError {
  return new SiltError(
    "corrupt",
    `Cannot use shard "${shardPartition(shard)}": the log has no HEAD for it; the log does not belong to this store`,
  );
}

interface HeadRow {
  readonly sequence: number;
  readonly runs_hash: string;
  readonly floor: string;
  readonly excluding: string | null;
  readonly exclude_rev: number;
}

function headOf(db: SqliteConnection, shard: ShardRef): Head | undefined {
  const row = db.get<HeadRow>(
    "SELECT sequence, runs_hash, floor, excluding, exclude_rev FROM sound_heads WHERE partition = ?",
    shardPartition(shard),
  );
  if (row === undefined) return undefined;
  const { sequence, runs_hash, floor, excluding, exclude_rev } = row;
  // An older HEAD that came back would hide runs that were acknowledged.
  const beyond = db.get(
    "SELECT 1 FROM runs WHERE partition = ? AND sequence > ? LIMIT 1",
    shardPartition(shard),
    sequence,
  );
  if (beyond !== undefined) {
    throw new SiltError(
      "corrupt",
      `Cannot use the log of "${shardPartition(shard)}": HEAD is ${sequence}, but it has later runs; restore the log from a backup`,
    );
  }
  return {
    sequence,
    runsHash: runs_hash,
    floor,
    excluding,
    excludeRev: exclude_rev,
  };
}

function insertHead(db: SqliteConnection, shard: ShardRef, head: Head): "created" | "exists" {
  const inserted = db.run(
    "INSERT INTO heads (partition, sequence, runs_hash, floor, excluding, exclude_rev) " +
      "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    shardPartition(shard),
    head.sequence,
    head.runsHash,
    head.floor,
    head.excluding,
    head.excludeRev,
  );
  return inserted === 1 ? "created" : "exists";
}

function runIdState(db: SqliteConnection, shard: ShardRef, runId: string): RunIdState {
  const row = db.get<{ sequence: number | null }>(
    "SELECT sequence FROM sound_run_ids WHERE partition = ? AND run_id = ?",
    shardPartition(shard),
    runId,
  );
  if (row === undefined) return { state: "absent" };
  if (row.sequence === null) return { state: "abandoned" };
  return { state: "registered", sequence: row.sequence };
}

function runsOf(
  db: SqliteConnection,
  shard: ShardRef,
  page: { readonly after: number; readonly limit: number },
): readonly Run[] {
  const partition = shardPartition(shard);
  const rows = db.all<{ sequence: number; run_id: string; run: string }>(
    "SELECT sequence, run_id, run FROM sound_runs WHERE partition = ? AND sequence > ? ORDER BY sequence LIMIT ?",
    partition,
    page.after,
    page.limit,
  );
  return rows.map(({ sequence, run_id, run }) => {
    const what = `run ${sequence} of "${partition}"`;
    const parsed = parseRun(Buffer.from(run), what);
    if (parsed.sequence === sequence && parsed.runId === run_id) return parsed;
    throw new SiltError(
      "corrupt",
      `Cannot read ${what}: it says that it is run ${parsed.sequence} "${parsed.runId}"`,
    );
  });
}

function appliedOf(db: SqliteConnection, shard: ShardRef): Applied | undefined {
  const row = db.get<{ version: number; applied_through: number }>(
    "SELECT version, applied_through FROM sound_applied WHERE partition = ?",
    shardPartition(shard),
  );
  return row && { version: row.version, appliedThrough: row.applied_through };
}

function guardOf(db: SqliteConnection, { uri, family }: GuardKey): Guard | undefined {
  const row = db.get<{ guard: string }>(
    "SELECT guard FROM sound_guards WHERE family = ? AND uri = ?",
    family,
    uri,
  );
  return row && parseGuard(Buffer.from(row.guard), `the guard of "${uri}"`);
}

/** The first condition that fails, in the order that the port promises. */
function refusalOf(
  db: SqliteConnection,
  { appends, guards }: LogTransaction,
): CommitOutcome | undefined {
  const heads: Head[] = [];
  for (const { shard } of appends) {
    const head = headOf(db, shard);
    if (head === undefined) return { outcome: "no-head", shard };
    heads.push(head);
  }
  for (const { shard, runs } of appends) {
    for (const { runId } of runs) {
      const state = runIdState(db, shard, runId);
      if (state.state !== "absent") return { outcome: "run-known", runId, state };
    }
  }
  for (const [index, { runs }] of appends.entries()) {
    const { floor } = heads[index] as Head;
    const below = runs.find(({ runId }) => runId < floor);
    if (below !== undefined) return { outcome: "below-floor", runId: below.runId, floor };
  }
  for (const { expectedRev, next } of guards) {
    const guard = guardOf(db, next);
    if ((guard?.rev ?? 0) !== expectedRev) return { outcome: "guard-moved", guard };
  }
  for (const [index, { shard, expected }] of appends.entries()) {
    const head = heads[index] as Head;
    if (canonicalJson(head) !== canonicalJson(expected)) {
      return { outcome: "head-moved", shard, head };
    }
  }
  return undefined;
}

function apply(db: SqliteConnection, { appends, guards }: LogTransaction): void {
  for (const { shard, next, runs } of appends) {
    const partition = shardPartition(shard);
    db.run(
      "UPDATE heads SET sequence = ?, runs_hash = ?, floor = ?, excluding = ?, exclude_rev = ? WHERE partition = ?",
      next.sequence,
      next.runsHash,
      next.floor,
      next.excluding,
      next.excludeRev,
      partition,
    );
    for (const run of runs) {
      const { sequence, runId } = run;
      db.run(
        "INSERT INTO runs (partition, sequence, run_id, run) VALUES (?, ?, ?, ?)",
        partition,
        sequence,
        runId,
        canonicalJson(run),
      );
      db.run(
        "INSERT INTO run_ids (partition, run_id, sequence) VALUES (?, ?, ?)",
        partition,
        runId,
        sequence,
      );
    }
  }
  for (const { next } of guards) {
    db.run(
      "INSERT INTO guards (family, uri, rev, guard) VALUES (?, ?, ?, ?) " +
        "ON CONFLICT (family, uri) DO UPDATE SET rev = excluded.rev, guard = excluded.guard",
      next.family,
      next.uri,
      next.rev,
      canonicalJson(next),
    );
  }
}
