/** Rows of a real log, edited behind Silt's back: `verifyStore()` names each. */
import { randomUUID } from "node:crypto";
import { copyFileSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  parseCollection,
  type Run,
  type ShardRef,
  shardPartition,
  type VerifyReport,
  verifyStore,
} from "@silt/core";
import { createSeededRandom } from "@silt/testkit";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LocalPorts } from "../../packages/local/src/index.ts";
import {
  buildStore,
  editLog,
  flipBit,
  openStoreFolder,
  overwrite,
  verifyAt,
  write,
} from "./store-copy.fixture.ts";

const folder = openStoreFolder();
let shard: ShardRef;
let runs: readonly Run[];
beforeAll(async () => {
  await buildStore(folder);
  await using ports = await folder.open();
  const [first] = await ports.objects.list("collections/lines/", { limit: 1 });
  const storeId = first?.key.split("/")[2] as string;
  shard = { collection: "lines", storeId, shard: "0-of-1" };
  runs = await ports.log.readRuns(shard, { after: 0, limit: 100 });
});
afterAll(() => folder[Symbol.asyncDispose]());

/** The report of a copy whose log was edited; `:shard` stands for the partition. */
async function reportOf(...statements: readonly string[]): Promise<VerifyReport> {
  const root = folder.copy();
  const partition = `'${shardPartition(shard)}'`;
  editLog(root, ...statements.map((sql) => sql.replaceAll(":shard", partition)));
  await using ports = await folder.open(root);
  return await verifyStore(ports, { collections: ["lines"] });
}

const object = (what: string) => `log: ${what} of ${shardPartition(shard)}`;
const named = (report: VerifyReport) => report.problems.map(({ object, kind }) => [object, kind]);
const HASH = "0".repeat(64);
/** `run` with one thing changed, as SQL. */
const setRun = (sequence: number, path: string, value: string) =>
  `UPDATE runs SET run = json_set(run, '$.${path}', ${value}) WHERE partition = :shard AND sequence = ${sequence}`;

describe("F52 F61 verifyStore() names", () => {
  const CASES: readonly [
    what: string,
    sql: () => readonly string[],
    object: () => string,
    kind: string,
  ][] = [
    [
      "a HEAD that is gone",
      () => ["DELETE FROM heads WHERE partition = :shard"],
      () => object("HEAD"),
      "head-missing",
    ],
    [
      "a HEAD that is too high",
      () => ["UPDATE heads SET sequence = 8 WHERE partition = :shard"],
      () => object("runs 7 to 8"),
      "run-missing",
    ],
    [
      "a HEAD that is one too low",
      () => [
        `UPDATE heads SET sequence = 5, runs_hash = '${runs[4]?.runsHash}' WHERE partition = :shard`,
      ],
      () => object("HEAD"),
      "log-unreadable",
    ],
    [
      "a HEAD with another history",
      () => [`UPDATE heads SET runs_hash = '${HASH}' WHERE partition = :shard`],
      () => object("HEAD"),
      "log-mismatch",
    ],
    [
      "a run that is gone in the middle",
      () => ["DELETE FROM runs WHERE partition = :shard AND sequence = 3"],
      () => object("run 3"),
      "run-missing",
    ],
    [
      "the first run when it is gone",
      () => ["DELETE FROM runs WHERE partition = :shard AND sequence = 1"],
      () => object("run 1"),
      "run-missing",
    ],
    [
      "the last run when it is gone",
      () => ["DELETE FROM runs WHERE partition = :shard AND sequence = 6"],
      () => object("run 6"),
      "run-missing",
    ],
    [
      "a run whose hash is another",
      () => [setRun(3, "runsHash", `'${HASH}'`)],
      () => object("run 3"),
      "run-damaged",
    ],
    [
      "a run that is no JSON",
      () => ["UPDATE runs SET run = 'x' || run WHERE partition = :shard AND sequence = 4"],
      () => object("run 4"),
      "run-damaged",
    ],
    [
      "a run that another one has replaced",
      () => [
        "UPDATE runs SET run = (SELECT run FROM runs WHERE partition = :shard AND sequence = 2) WHERE partition = :shard AND sequence = 4",
      ],
      () => object("run 4"),
      "run-damaged",
    ],
    [
      "a run that names another bundle",
      () => [setRun(2, "delta.key", `'${runs[3]?.delta.key}'`)],
      () => object("run 2"),
      "run-damaged",
    ],
    [
      "a run with another bundle hash",
      () => [setRun(6, "delta.sha256", `'${HASH}'`)],
      () => runs[5]?.delta.key ?? "",
      "bundle-damaged",
    ],
    [
      "a run with another count of rows",
      () => [setRun(6, "rows.put", "77")],
      () => runs[5]?.delta.key ?? "",
      "bundle-damaged",
    ],
    [
      "a run with another count of replaced parents",
      () => [setRun(2, "replaced", "77")],
      () => runs[1]?.delta.key ?? "",
      "applied-bundle-damaged",
    ],
    [
      "a run id that is gone",
      () => [`DELETE FROM run_ids WHERE run_id = '${runs[1]?.runId}'`],
      () => object(`run id ${runs[1]?.runId}`),
      "run-id-mismatch",
    ],
    [
      "a run id with another number",
      () => [`UPDATE run_ids SET sequence = 1 WHERE run_id = '${runs[1]?.runId}'`],
      () => object(`run id ${runs[1]?.runId}`),
      "run-id-mismatch",
    ],
    [
      "a run id that was given up",
      () => [`UPDATE run_ids SET sequence = NULL WHERE run_id = '${runs[5]?.runId}'`],
      () => object(`run id ${runs[5]?.runId}`),
      "run-id-mismatch",
    ],
    [
      "an APPLIED beyond the pointer's run",
      () => ["UPDATE applied SET applied_through = 6 WHERE partition = :shard"],
      () => object("APPLIED"),
      "log-mismatch",
    ],
    [
      "an APPLIED before the pointer's run",
      () => ["UPDATE applied SET applied_through = 4 WHERE partition = :shard"],
      () => object("APPLIED"),
      "log-mismatch",
    ],
  ];
  it.each(CASES)("%s", async (_, sql, where, kind) => {
    const report = await reportOf(...sql());
    expect(named(report)).toEqual([[where(), kind]]);
    expect(report.problems[0]?.remedy).toMatch(/\.$/);
  });

  it("a pointer that is older than what the log has seen", async () => {
    const report = await reportOf("UPDATE applied SET version = 5 WHERE partition = :shard");
    const pointer = `collections/lines/${shard.storeId}/shards/0-of-1/latest-pointer.json`;
    expect(named(report)).toEqual([[pointer, "pointer-outdated"]]);
  });

  it("a log of an earlier moment: HEAD is behind what the pointer has applied", async () => {
    const report = await reportOf(
      `UPDATE heads SET sequence = 3, runs_hash = '${runs[2]?.runsHash}' WHERE partition = :shard`,
      "DELETE FROM runs WHERE partition = :shard AND sequence > 3",
      `DELETE FROM run_ids WHERE partition = :shard AND sequence > 3`,
    );
    expect(named(report)).toEqual([[object("HEAD"), "log-mismatch"]]);
  });

  it("a log of another store: the pointer has applied another history", async () => {
    const ids = runs.map(() => randomUUID());
    const changes = runs.flatMap(({ sequence }, index) => [
      setRun(sequence, "runId", `'${ids[index]}'`),
      `UPDATE runs SET run_id = '${ids[index]}' WHERE partition = :shard AND sequence = ${sequence}`,
    ]);
    const report = await reportOf(...changes);
    for (const { sequence } of runs) {
      expect(named(report)).toContainEqual([object(`run ${sequence}`), "run-damaged"]);
    }
  });

  it("every damage of many at once, and only those", async () => {
    const report = await reportOf(
      "DELETE FROM runs WHERE partition = :shard AND sequence = 2",
      "UPDATE runs SET run = 'x' WHERE partition = :shard AND sequence = 4",
      `DELETE FROM run_ids WHERE run_id = '${runs[4]?.runId}'`,
      `UPDATE heads SET runs_hash = '${HASH}' WHERE partition = :shard`,
      "UPDATE applied SET applied_through = 4 WHERE partition = :shard",
    );
    expect(
      named(report)
        .map(([where]) => where)
        .sort(),
    ).toEqual(
      [
        object("APPLIED"),
        object("HEAD"),
        object("run 2"),
        object("run 4"),
        object(`run id ${runs[4]?.runId}`),
      ].sort(),
    );
  });

  it("a log of which nothing can be read, without trying every run", async () => {
    const report = await reportOf(
      "UPDATE runs SET run = 'x' WHERE partition = :shard",
      "UPDATE heads SET sequence = 1000000 WHERE partition = :shard",
      ...Array.from(
        { length: 30 },
        (_, index) =>
          `INSERT INTO runs (partition, sequence, run_id, run) VALUES (:shard, ${index + 7}, 'x', 'x')`,
      ),
    );
    expect(named(report)).toHaveLength(21);
    expect(named(report)).toContainEqual([object("run 20"), "run-damaged"]);
    expect(named(report)).toContainEqual([object("runs 21 to 1000000"), "log-unreadable"]);
  });

  it("nothing when only APPLIED is behind, which the next compaction makes up for", async () => {
    for (const sql of [
      "DELETE FROM applied WHERE partition = :shard",
      "UPDATE applied SET version = 3, applied_through = 4 WHERE partition = :shard",
    ]) {
      const report = await reportOf(sql);
      expect(report.problems).toEqual([]);
      expect(report.notices).toMatchObject([{ object: object("APPLIED"), kind: "flip-not-noted" }]);
    }
  });
});

it("verifyStore() names the guards when one does not parse", async () => {
  const root = folder.copy();
  editLog(root, "UPDATE guards SET guard = '{}'");
  expect(named(await verifyAt(folder, root))).toEqual([["log: guards of images", "guard-damaged"]]);
});

describe("a whole older log", () => {
  it("F52 is told from bundles that nobody registered", async () => {
    const root = folder.copy();
    const before = join(root, "..", "log-before.sqlite");
    const db = new Database(join(root, "log.sqlite"));
    db.pragma("wal_checkpoint(TRUNCATE)");
    db.close();
    copyFileSync(join(root, "log.sqlite"), before);
    let lost: string;
    {
      await using ports = await folder.open(root);
      const found = await ports.objects.get("collections/lines/collection.json", {
        bytesMax: 65_536,
      });
      if (found.outcome !== "found") throw new Error(found.outcome);
      const identity = parseCollection(found.bytes, "collection");
      lost = (
        await write(ports, identity, shard, { rows: new Map(), replaced: new Map([["p", 0]]) })
      ).delta.key;
    }
    for (const suffix of ["", "-wal", "-shm"])
      rmSync(join(root, `log.sqlite${suffix}`), { force: true });
    copyFileSync(before, join(root, "log.sqlite"));
    const report = await verifyAt(folder, root);
    expect(report.problems).toEqual([]);
    expect(report.notices).toMatchObject([{ object: lost, kind: "leftover" }]);
  });
});

/** What verification can prove of the log's rows; undefined when SQLite cannot read them. */
function provable(root: string): string | undefined {
  const db = new Database(join(root, "log.sqlite"), { readonly: true });
  try {
    const all = (sql: string) => JSON.stringify(db.prepare(sql).all());
    return [
      all("SELECT * FROM heads ORDER BY partition"),
      all("SELECT * FROM applied ORDER BY partition"),
      all("SELECT * FROM run_ids ORDER BY partition, run_id"),
      all(`SELECT partition, sequence, run_id, json_extract(run, '$.sequence', '$.runId', '$.delta',
        '$.rows', '$.replaced', '$.runsHash') FROM runs ORDER BY partition, sequence`),
    ].join("\n");
  } catch {
    return undefined;
  } finally {
    db.close();
  }
}

it("F31 a bit flipped anywhere in the log's file never stops verifyStore(), and what it changed is named", async () => {
  const random = createSeededRandom(11);
  const root = folder.copy();
  const original = readFileSync(join(root, "log.sqlite"));
  const before = provable(root);
  let changed = 0;
  let verified = 0;
  for (let flips = 0; flips < 120; flips++) {
    for (const side of ["-wal", "-shm"]) rmSync(join(root, `log.sqlite${side}`), { force: true });
    overwrite(join(root, "log.sqlite"), original);
    flipBit(join(root, "log.sqlite"), random.fraction(), random.int(8));
    const told = provable(root);
    if (told === before) continue;
    changed += 1;
    let ports: LocalPorts;
    try {
      ports = await folder.open(root);
    } catch (error) {
      // What cannot be opened says so there.
      expect(error, `flip ${flips}`).toMatchObject({
        kind: expect.stringMatching(/^(corrupt|invalid)$/),
      });
      continue;
    }
    await using _ = ports;
    const report = await verifyStore(ports);
    verified += 1;
    expect(report.problems.length, `flip ${flips}: ${told}`).toBeGreaterThan(0);
  }
  expect(changed).toBeGreaterThan(3);
  expect(verified).toBeGreaterThan(3);
}, 30_000);
