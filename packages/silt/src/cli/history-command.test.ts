/** Commands about old versions, what may go, and how a store is. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type CommandSandbox, commandSandbox } from "./command.fixture.ts";

let prepared: CommandSandbox;
let sandbox: CommandSandbox;
/** Version 1 holds a, 2 a and b, 3 a, b and c. */
beforeAll(async () => {
  prepared = commandSandbox();
  await prepared.silt(["init", "notes", "--dimension", "2"]);
  for (const id of ["a", "b", "c"]) {
    await prepared.silt(["put", "notes"], JSON.stringify({ id, embedding: [1, id.charCodeAt(0)] }));
    await prepared.silt(["compact"]);
  }
});
afterAll(() => prepared[Symbol.dispose]());
beforeEach(() => {
  sandbox = commandSandbox(prepared);
});
afterEach(() => sandbox[Symbol.dispose]());

const silt = (...args: string[]) => sandbox.silt(args);
const ids = async (...args: string[]) => {
  const { json } = await silt("get", "notes", "--json", ...args);
  return json.records.map(({ id }: { id: string }) => id);
};
const versions = async () => {
  const { json } = await silt("versions", "notes", "--json");
  return json.collections[0].shards[0].versions;
};
const RIPE_AT_ONCE = ["--keep-versions", "1", "--keep-versions-for", "0s", "--grace", "0s"];

describe("silt versions", () => {
  it("lists what can be read, newest first, with what holds it", async () => {
    await silt("pin", "2", "--owner", "audit", "--reason", "year 2026");
    const seen = await versions();
    expect(seen.map(({ version }: { version: number }) => version)).toEqual([3, 2, 1, 0]);
    expect(seen[0]).toMatchObject({ current: true, supersededAt: null, rows: 3, pins: [] });
    expect(seen[1]).toMatchObject({
      current: false,
      appliedThrough: 2,
      pins: [{ owner: "audit", reason: "year 2026" }],
    });
    const { stdout } = await silt("versions");
    expect(stdout).toMatch(/notes .*0-of-1 .* 2 .*pinned by audit \(year 2026\)/);
  });
});

describe("--version", () => {
  it("I5 query, get and export answer as that version did", async () => {
    expect(await ids("--version", "1")).toEqual(["a"]);
    expect(await ids("--version", "0")).toEqual([]);
    expect(await ids("--version", "0-of-1=2")).toEqual(["a", "b"]);
    const vector = join(sandbox.folder, "vector.json");
    writeFileSync(vector, "[1, 99]");
    const query = await silt("query", "notes", "--vector", vector, "--version", "2", "--json");
    expect(query.json).toMatchObject({
      version: 2,
      appliedThrough: 2,
      behind: 1,
      results: [{ id: "b" }, { id: "a" }],
    });
    const { stdout } = await silt("export", "notes", "--jsonl", "-", "--version", "1");
    expect(JSON.parse(stdout)).toMatchObject({ id: "a" });
  });

  it("verify looks at it to its last row", async () => {
    expect((await silt("verify", "notes", "--version", "2")).exitCode).toBe(0);
    const folder = join(sandbox.store, "collections/notes");
    const name = readdirSync(folder, { recursive: true, encoding: "utf8" }).find((key) =>
      key.endsWith("1-2.sqlite"),
    ) as string;
    const path = join(folder, name);
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    writeFileSync(path, bytes);
    const report = await silt("verify", "notes", "--version", "2", "--json");
    expect(report.exitCode).toBe(3);
    expect(report.json.problems.map(({ kind }: { kind: string }) => kind)).toContain(
      "segment-damaged",
    );
  });

  it("is wrong usage with --fresh, for a version that is not there, or is no number", async () => {
    const cases = [
      [["--fresh", "--version", "1"], /--fresh and --version are given/],
      [["--version", "9"], /the newest is 3; there are 3, 2, 1, 0/],
      [["--version", "last"], /expected a version such as 3/],
      [["--version", "0-of-4=1"], /it has no shard "0-of-4"; there are 0-of-1/],
    ] as const;
    for (const [args, message] of cases) {
      const { exitCode, stderr } = await silt("get", "notes", ...args);
      expect([exitCode, stderr]).toEqual([2, expect.stringMatching(message)]);
    }
    const { exitCode, stderr } = await silt("verify", "--version", "1");
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/name one/)]);
  });
});

describe("silt rollback", () => {
  it("F56 goes back, and no compaction brings back what it undid", async () => {
    const { exitCode, json } = await silt("rollback", "1", "--reason", "bad import", "--json");
    expect([exitCode, json]).toEqual([
      0,
      {
        collection: "notes",
        shard: "0-of-1",
        outcome: "rolled-back",
        from: 3,
        to: 1,
        version: 4,
        appliedThrough: 3,
        undone: { runs: 2, records: 2 },
        sources: [],
        ingest: [],
        elsewhere: 0,
        warnings: [],
      },
    ]);
    await sandbox.silt(["put", "notes"], JSON.stringify({ id: "d", embedding: [1, 2] }));
    await silt("compact");
    expect(await ids()).toEqual(["a", "d"]);
    const verified = await silt("verify", "--json");
    expect(verified.json.problems).toEqual([]);
    expect(verified.json.notices).toMatchObject([{ kind: "rolled-back" }]);
    expect((await silt("status", "--json")).json.collections[0].shards[0]).toMatchObject({
      excluded: 0,
      rolledBack: 2,
    });
  });

  it("refuses what it cannot go back to, and another base than was looked at", async () => {
    const cases = [
      [["3"], 2, /the current version is 3, expected an older one/],
      [["notes", "x"], 2, /expected \[COLLECTION\] VERSION/],
      [["other", "1"], 2, /it does not exist \(there are notes\)/],
      [["1", "--base", "2"], 4, /the current version is 3, expected 2; look again/],
      [["1", "--shard", "0-of-2"], 2, /it has no shard "0-of-2"/],
    ] as const;
    for (const [args, code, message] of cases) {
      const { exitCode, stderr } = await silt("rollback", ...args);
      expect([exitCode, stderr]).toEqual([code, expect.stringMatching(message)]);
    }
    expect(await ids()).toEqual(["a", "b", "c"]);
  });
});

describe("silt rollback at a terminal", () => {
  it("tells what it would undo and asks; anything but yes changes nothing", async () => {
    const no = await sandbox.atTerminal(["rollback", "1"], "n\n");
    expect(no.stdout).toMatch(/from version 3 back to 1 undoes 2 records of 2 runs/);
    expect([no.exitCode, no.stderr]).toEqual([1, expect.stringMatching(/\[y\/N\].*nothing was/s)]);
    expect((await sandbox.atTerminal(["rollback", "1"], "")).exitCode).toBe(1);
    expect(await ids()).toEqual(["a", "b", "c"]);
    const yes = await sandbox.atTerminal(["rollback", "1"], "yes\n");
    expect([yes.exitCode, yes.stdout]).toEqual([0, expect.stringMatching(/left out for good: 2/)]);
    expect(await ids()).toEqual(["a"]);
    const unasked = await sandbox.atTerminal(["rollback", "0", "--yes"], "");
    expect([unasked.exitCode, unasked.stderr]).toEqual([0, expect.not.stringMatching(/y\/N/)]);
    expect(await ids()).toEqual([]);
    const made = (await versions()).map((one: { made: string }) => one.made);
    expect(made).toEqual([
      "rollback",
      "rollback",
      "compaction",
      "compaction",
      "compaction",
      "creation",
    ]);
  });
});

describe("silt gc", () => {
  it("plans first; --delete takes what retention lets go, and leaves what is pinned", async () => {
    await silt("policy", "notes", ...RIPE_AT_ONCE);
    await silt("pin", "2");
    const plan = await silt("gc", "--json");
    expect(plan.json).toMatchObject({ deletedBytes: 0, shards: [{ deleted: [], retired: [] }] });
    const [shard] = plan.json.shards;
    expect(shard.candidates.length).toBeGreaterThan(0);
    for (const one of shard.candidates) {
      expect(one).toMatchObject({ why: expect.any(String), ripe: true, since: expect.any(String) });
    }
    expect((await versions()).length).toBe(4);
    const done = await silt("gc", "--delete", "--json");
    expect(done.json.shards[0].retired).toEqual([0, 1]);
    expect(done.json.deletedBytes).toBeGreaterThan(0);
    expect((await versions()).map(({ version }: { version: number }) => version)).toEqual([3, 2]);
    expect(await ids("--version", "2")).toEqual(["a", "b"]);
    expect((await silt("verify")).exitCode).toBe(0);
    expect((await silt("get", "notes", "--version", "1")).stderr).toMatch(
      /the collector has taken/,
    );
    expect((await silt("unpin", "2", "--owner", "ann")).stderr).toMatch(
      /"ann" does not hold it, "operator" does/,
    );
    await silt("unpin", "2");
    await silt("gc", "--delete");
    expect((await versions()).length).toBe(1);
    expect(await ids()).toEqual(["a", "b", "c"]);
  });

  it("deletes nothing before the grace is over, and says when it is", async () => {
    await silt("policy", "notes", ...RIPE_AT_ONCE, "--grace", "1h");
    const { stdout } = await silt("gc", "--delete");
    expect(stdout).toMatch(/of a version beyond retention/);
    expect(stdout).toMatch(/ripe at 2/);
    expect(stdout).toMatch(/deleted 0 objects/);
    expect((await versions()).length).toBe(4);
  });
});

describe("silt policy", () => {
  it("shows and changes how a collection is kept; nonsense changes nothing", async () => {
    const before = (await silt("policy", "notes", "--json")).json;
    expect(before.retention).toMatchObject({ versionsKept: 10, graceMs: 3_600_000 });
    const changed = await silt("policy", "notes", "--keep-deltas-for", "forever", "--json");
    expect(changed.json.retention).toEqual({ ...before.retention, deltasKeptMs: null });
    for (const bad of ["soon", "-1d", "7", "7 weeks"]) {
      const { exitCode, stderr } = await silt("policy", "notes", `--grace=${bad}`);
      expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/duration such as/)]);
    }
    expect((await silt("policy", "notes", "--json")).json).toEqual(changed.json);
  });
});

describe("silt rebuild", () => {
  it("I2 proves the version from the log; without bundles it says that it cannot", async () => {
    await silt("rollback", "1");
    expect((await silt("rebuild", "--json")).json).toMatchObject({
      ok: true,
      shards: [{ outcome: "equal", runs: 1, excluded: 2, rebuilt: 1, current: 1, gone: null }],
    });
    await silt("rollback", "0");
    await silt("policy", "notes", ...RIPE_AT_ONCE, "--keep-deltas-for", "0s");
    await sandbox.silt(["put", "notes"], JSON.stringify({ id: "d", embedding: [1, 2] }));
    await silt("compact");
    await sandbox.silt(["put", "notes"], JSON.stringify({ id: "e", embedding: [1, 2] }));
    await silt("compact");
    await silt("gc", "--delete");
    const { exitCode, json } = await silt("rebuild", "--json");
    expect(exitCode).toBe(0);
    expect(json.shards).toMatchObject([
      { outcome: "bundles-gone", gone: { from: 4, to: 4, runs: 1 }, rebuilt: null },
    ]);
  });
});

describe("silt sweep and silt doctor", () => {
  it("find nothing wrong with a store that is well", async () => {
    expect((await silt("sweep", "--json")).json).toMatchObject({
      ok: true,
      shards: [{ pending: 0, hinted: false, stuck: null }],
    });
    const { exitCode, json } = await silt("doctor", "--json");
    expect([exitCode, json.ok]).toEqual([0, true]);
    expect(json.checks.map(({ name }: { name: string }) => name)).toEqual(
      expect.arrayContaining(["log", "notes 0-of-1", "disk", "cache"]),
    );
  });

  it("name a run that waits for too long, and why; a person is needed", async () => {
    await sandbox.silt(["put", "notes"], JSON.stringify({ id: "d", embedding: [1, 2] }));
    const sweep = await silt("sweep", "--stuck-after", "0ms", "--hint-after", "0ms", "--json");
    expect(sweep.exitCode).toBe(3);
    expect(sweep.json.shards).toMatchObject([
      { pending: 1, hinted: true, stuck: expect.stringMatching(/no compactor is at work/) },
    ]);
    const doctor = await silt("doctor", "--stuck-after", "0ms");
    expect(doctor.exitCode).toBe(3);
    expect(doctor.stdout).toMatch(/1 run pending, the oldest for .*: no compactor is at work/);
    expect(doctor.stdout).toMatch(/1 of these need a person/);
    expect((await silt("doctor")).exitCode).toBe(0);
  });

  it("sweep --compact is all that one machine's schedule needs", async () => {
    await sandbox.silt(["put", "notes"], JSON.stringify({ id: "d", embedding: [1, 2] }));
    const young = await silt("sweep", "--compact", "--json");
    expect(young.json.shards).toMatchObject([{ pending: 1, hinted: false, compacted: null }]);
    const { exitCode, json } = await silt("sweep", "--compact", "--hint-after", "0s", "--json");
    expect(exitCode).toBe(0);
    expect(json.shards).toMatchObject([
      { pending: 0, hinted: true, stuck: null, compacted: { outcome: "flipped", version: 4 } },
    ]);
    expect(await ids()).toEqual(["a", "b", "c", "d"]);
  });

  it("F23 one damaged collection keeps sweep, gc and rebuild from no other", async () => {
    await silt("init", "other", "--dimension", "2");
    await silt("init", "third", "--dimension", "2");
    const pointer = readdirSync(join(sandbox.store, "collections/other"), {
      recursive: true,
      encoding: "utf8",
    }).find((key) => key.endsWith("latest-pointer.json")) as string;
    rmSync(join(sandbox.store, "collections/other", pointer));
    rmSync(join(sandbox.store, "collections/third/policy.json"));
    for (const command of ["sweep", "gc", "rebuild"]) {
      const { exitCode, json, stderr } = await silt(command, "--json");
      expect([command, exitCode]).toEqual([command, 3]);
      expect(json.shards).toMatchObject([
        { collection: "notes", shard: "0-of-1" },
        { collection: "other", shard: "0-of-1", error: { kind: "corrupt" } },
        { collection: "third", shard: null, error: { kind: "corrupt" } },
      ]);
      expect(json.shards[0]).not.toHaveProperty("error");
      expect(stderr).toMatch(/error other 0-of-1: .*it is gone/);
    }
  });
});

describe("commands about the past and about health", () => {
  const COMMANDS = [
    ...["versions", "rollback", "pin", "unpin", "gc"],
    ...["policy", "sweep", "rebuild", "doctor"],
  ];

  it.each(COMMANDS)("the examples of %s are right", async (name) => {
    const { stdout } = await silt(name, "--help");
    const lines = [...stdout.matchAll(/^ {2}\$ silt (.*)$/gm)].map(([, line]) => line ?? "");
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) {
      const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(
        ([, quoted, bare]) => quoted ?? bare,
      );
      const { stderr } = await silt(...(words as string[]));
      // The versions that they name are not there.
      expect(stderr, line).not.toMatch(
        /unknown|missing|too many|expected a (?:version|duration|whole)|which collection/,
      );
    }
  });

  it.each([
    [["versions", "nope"], 2, /it does not exist \(there are notes\)/],
    [["versions", "notes", "1"], 2, /too many arguments/],
    [["rollback"], 2, /missing required argument/],
    [["rollback", "notes", "1", "2"], 2, /expected \[COLLECTION\] VERSION/],
    [["rollback", "-1"], 2, /expected \[COLLECTION\] VERSION/],
    [["rollback", "1", "--base", "x"], 2, /expected the number of a version/],
    [["rollback", "1", "--reason", "x".repeat(1_001)], 2, /1001 characters, expected at most 1000/],
    [["rollback", "99999999999999999999"], 2, /expected \[COLLECTION\] VERSION/],
    [["pin", "9"], 2, /the newest is 3; there are 3, 2, 1, 0/],
    [["pin", "1", "--owner", ""], 2, /its owner is empty/],
    [["pin", "1", "--owner", "rollback-x"], 2, /"silt sweep" lets those go/],
    [["pin", "1", "--reason", "\ud800"], 2, /unpaired surrogate/],
    [["unpin", "1"], 2, /"operator" does not hold it, nobody does/],
    [["unpin", "1", "--owner", "rollback-x"], 2, /"silt sweep" lets those go/],
    [["gc", "--delte"], 2, /unknown option '--delte'[\s\S]*Did you mean --delete/],
    [["gc", "nope"], 2, /it does not exist/],
    [["policy"], 2, /missing required argument/],
    [["policy", "nope"], 2, /it does not exist/],
    [["policy", "notes", "--keep-versions", "0"], 2, /expected a whole number from 1/],
    [["policy", "notes", "--strategy", "x"], 2, /Allowed choices are tiered, single/],
    [["policy", "notes", "--keep-deltas-for", "never"], 2, /expected a duration/],
    [["sweep", "--hint-after", "1"], 2, /expected a duration such as 90s/],
    [["sweep", "nope"], 2, /it does not exist/],
    [["rebuild", "nope"], 2, /it does not exist/],
    [["doctor", "notes"], 2, /too many arguments/],
    [["docter"], 2, /Did you mean doctor/],
    [["export", "notes", "--jsonl", "-", "--version", "9"], 2, /the newest is 3/],
    [["query", "notes", "--vector", "-", "--version", ""], 2, /expected a version/],
  ] as const)("refuses %j", async (args, code, message) => {
    const before = await versions();
    const { exitCode, stderr } = await silt(...args);
    expect([exitCode, stderr]).toEqual([code, expect.stringMatching(message)]);
    expect(await versions()).toEqual(before);
  });
});
