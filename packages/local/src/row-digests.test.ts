/** Rows that a disk has changed: no trigger saw it, so their digests are those of what was written. */
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type LocalPorts, openLocalPorts } from "./open-local.ts";
import { NEW_HEAD, optionsOf, SHARD, temporaryFolder } from "./temporary-store.fixture.ts";

const PARTITION = "lines/store0000001/0-of-1";
const APPLIED = { version: 1, appliedThrough: 3 };

let folder: ReturnType<typeof temporaryFolder>;
let ports: LocalPorts;
beforeEach(async () => {
  folder = temporaryFolder();
  ports = await openLocalPorts(join(folder.path, "store"), optionsOf());
  await ports.log.createShard(SHARD, NEW_HEAD);
  await ports.log.raiseApplied(SHARD, APPLIED);
});
afterEach(async () => {
  await ports[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const database = () => new Database(join(ports.root, "log.sqlite"));

function changeUnseen(sql: string): void {
  const db = database();
  const select = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
  const triggers = db.prepare<[], { name: string; sql: string }>(select).all();
  db.transaction(() => {
    for (const { name } of triggers) db.exec(`DROP TRIGGER ${name}`);
    db.exec(sql);
    for (const trigger of triggers) db.exec(trigger.sql);
  })();
  db.close();
}

const named = async () => (await ports.log.audit?.())?.map(({ what }) => what);

describe("F61 a row of the log that is not what was written", () => {
  it("is none while only Silt has changed it", async () => {
    await ports.log.raiseApplied(SHARD, { version: 2, appliedThrough: 4 });
    await ports.log.announceExclusion(SHARD, "commit");
    await ports.log.abandonRun(SHARD, "run-a");
    expect(await named()).toEqual([]);
  });

  it("is refused where it is read, and named by the audit", async () => {
    changeUnseen("UPDATE heads SET floor = 'x'");
    await expect(ports.log.readHead(SHARD)).rejects.toMatchObject({ kind: "corrupt" });
    expect(await named()).toEqual([`HEAD of ${PARTITION}`]);
  });

  it("is refused where it is written: an update must not give it a right digest", async () => {
    changeUnseen("UPDATE applied SET applied_through = 2");
    const raised = ports.log.raiseApplied(SHARD, { version: 2, appliedThrough: 4 });
    await expect(raised).rejects.toMatchObject({ kind: "corrupt" });
    expect(await named()).toEqual([`APPLIED of ${PARTITION}`]);
  });

  it("is named by its table when it is gone, or there twice", async () => {
    changeUnseen("DELETE FROM applied");
    changeUnseen(
      "INSERT INTO heads SELECT partition || 'x', sequence, runs_hash, floor, excluding, exclude_rev, digest FROM heads",
    );
    expect(await named()).toEqual([`HEAD of ${PARTITION}x`, "rows of applied"]);
  });

  it("is named by its table when an older state of it came back, digest and all", async () => {
    const db = database();
    const old = db.prepare<[], { digest: Buffer }>("SELECT digest FROM applied").get();
    db.close();
    await ports.log.raiseApplied(SHARD, { version: 2, appliedThrough: 4 });
    const hex = old?.digest.toString("hex");
    changeUnseen(`UPDATE applied SET version = 1, applied_through = 3, digest = X'${hex}'`);
    expect(await ports.log.readApplied(SHARD)).toEqual(APPLIED);
    expect(await named()).toEqual(["rows of applied"]);
  });
});

it("a program that is not Silt cannot change the log by accident", () => {
  const db = database();
  expect(() => db.exec("UPDATE heads SET sequence = 9")).toThrow(/no such function: silt_/);
  db.close();
});
