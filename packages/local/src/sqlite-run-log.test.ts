import { join } from "node:path";
import { type Run, type ShardRef, SiltError } from "@silt/core";
import { createSeededRandom, createVirtualClock, silentLogger } from "@silt/testkit";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLocalPorts } from "./open-local.ts";
import { prepareDigests } from "./row-digests.ts";
import { openLogConnection, type SqliteConnection } from "./sqlite-connection.ts";
import { createSqliteRunLog } from "./sqlite-run-log.ts";
import { NEW_HEAD, optionsOf, SHARD, temporaryFolder } from "./temporary-store.fixture.ts";

describe("createSqliteRunLog()", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let root: string;
  let connection: SqliteConnection;
  beforeEach(async () => {
    folder = temporaryFolder();
    root = join(folder.path, "store");
    await (await openLocalPorts(root, optionsOf()))[Symbol.asyncDispose]();
    connection = await openLogConnection(root, {
      clock: createVirtualClock(),
      random: createSeededRandom(1),
      logger: silentLogger,
    });
  });
  afterEach(() => {
    connection[Symbol.dispose]();
    folder[Symbol.dispose]();
  });

  const runOf = (sequence: number, runId: string): Run => ({
    format: 1,
    requires: [],
    sequence,
    runId,
    delta: { key: `deltas/${runId}.tar`, bytes: 1, sha256: "0".repeat(64), codec: "tar" },
    rows: { put: 1, patch: 0, delete: 0 },
    replaced: 0,
    source: null,
    companions: [],
    retryOf: null,
    registeredAt: "2026-01-01T00:00:00.000Z",
    runsHash: "0".repeat(64),
  });
  const appendOf = (runs: readonly Run[]) => ({
    shard: SHARD,
    expected: NEW_HEAD,
    next: { ...NEW_HEAD, sequence: runs.length },
    runs,
  });

  it("raiseApplied() syncs the pointer first, and does not raise when that fails", async () => {
    const synced: ShardRef[] = [];
    let fails = true;
    const log = createSqliteRunLog(connection, {
      syncShard: (shard) => {
        synced.push(shard);
        if (fails) throw new SiltError("unavailable", "the disk is gone");
      },
    });
    const raise = () => log.raiseApplied(SHARD, { version: 1, appliedThrough: 1 });
    await expect(raise()).rejects.toMatchObject({ kind: "unavailable" });
    expect(await log.readApplied(SHARD)).toBeUndefined();
    fails = false;
    await raise();
    expect(synced).toEqual([SHARD, SHARD]);
    expect(await log.readApplied(SHARD)).toEqual({ version: 1, appliedThrough: 1 });
  });

  it("commit() of a transaction with a gap or a run twice is a bug, and writes nothing", async () => {
    const log = createSqliteRunLog(connection, { syncShard: () => {} });
    await log.createShard(SHARD, NEW_HEAD);
    const [first, second] = [runOf(1, "run-a"), runOf(2, "run-b")];
    const spoiled = [
      { appends: [appendOf([second])], guards: [] },
      { appends: [appendOf([first, { ...second, runId: "run-a" }])], guards: [] },
      { appends: [{ ...appendOf([first]), next: NEW_HEAD }], guards: [] },
      { appends: [appendOf([first]), appendOf([first])], guards: [] },
    ];
    for (const transaction of spoiled) {
      await expect(log.commit(transaction)).rejects.toMatchObject({ kind: "internal" });
    }
    expect(await log.readHead(SHARD)).toEqual(NEW_HEAD);
    expect(await log.readRuns(SHARD, { after: 0, limit: 10 })).toEqual([]);
  });

  it("F61 a run row that was changed by hand is corrupt, not another run", async () => {
    const log = createSqliteRunLog(connection, { syncShard: () => {} });
    await log.createShard(SHARD, NEW_HEAD);
    const committed = await log.commit({ appends: [appendOf([runOf(1, "run-a")])], guards: [] });
    expect(committed).toEqual({ outcome: "committed" });
    const read = () => log.readRuns(SHARD, { after: 0, limit: 10 });
    for (const change of [
      `replace(run, '"sequence":1', '"sequence":7')`,
      `replace(run, 'run-a', 'run-b')`,
      "'{'",
    ]) {
      const db = new Database(join(root, "log.sqlite"));
      prepareDigests(db);
      const [row] = db.prepare("SELECT run FROM runs").pluck().all();
      db.exec(`UPDATE runs SET run = ${change}`);
      await expect(read(), change).rejects.toMatchObject({ kind: "corrupt" });
      db.prepare("UPDATE runs SET run = ?").run(row);
      db.close();
    }
    expect(await read()).toHaveLength(1);
  });
});
