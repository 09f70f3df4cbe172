/** The command as a person and a script see it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { onlySegment, overwriteObject } from "../stored-segment.fixture.ts";
import { type CommandSandbox, commandSandbox } from "./command.fixture.ts";

let sandbox: CommandSandbox;
beforeEach(async () => {
  sandbox = commandSandbox();
  await sandbox.silt(["init", "notes", "--dimension", "2"]);
});
afterEach(() => sandbox[Symbol.dispose]());

const line = (id: string, more: object = {}) =>
  `${JSON.stringify({ id, embedding: [1, 2], ...more })}\n`;

describe("silt", () => {
  it("puts, compacts, queries, gets, patches and deletes, with the promised JSON keys", async () => {
    const put = await sandbox.silt(
      ["put", "notes", "--json"],
      line("a", { parent: "p", document: "tea", metadata: { n: 1 } }) + line("b"),
    );
    expect(put.exitCode).toBe(0);
    expect(put.json).toEqual({
      collection: "notes",
      acknowledged: 2,
      runs: [{ runId: expect.any(String), shard: "0-of-1", sequence: 1, records: 2 }],
    });
    const compact = await sandbox.silt(["compact", "--json"]);
    expect(compact.json.shards).toEqual([
      {
        collection: "notes",
        shard: "0-of-1",
        outcome: "flipped",
        version: 1,
        appliedThrough: 1,
        rowsIn: 2,
        rowsOut: 2,
        superseded: 0,
        bytesWritten: expect.any(Number),
        ms: expect.any(Number),
        excluded: [],
      },
    ]);
    expect((await sandbox.silt(["compact", "--json"])).json.shards[0]).toMatchObject({
      outcome: "nothing-to-do",
      version: 1,
    });
    const query = await sandbox.silt(["query", "notes", "--vector", "-", "--json"], "[1, 2]");
    expect(query.json).toMatchObject({
      collection: "notes",
      version: 1,
      appliedThrough: 1,
      behind: 0,
    });
    expect(query.json.results[0]).toEqual({
      id: "a",
      distance: expect.closeTo(0),
      parent: "p",
      document: "tea",
      metadata: { n: 1 },
    });
    await sandbox.silt(["patch", "notes"], '{"id": "a", "metadata": {"n": null, "m": 2}}');
    await sandbox.silt(["delete", "notes", "--id", "b"]);
    const get = await sandbox.silt(["get", "notes", "--fresh", "--json", "--embeddings"]);
    expect(get.json.records).toEqual([
      { id: "a", parent: "p", document: "tea", metadata: { m: 2 }, embedding: [1, 2] },
    ]);
    const stale = await sandbox.silt(["get", "notes", "--json"]);
    expect(stale.json).toMatchObject({ behind: 2, records: [{ id: "a" }, { id: "b" }] });
  });

  it("F67 put --replace removes all earlier records of each parent that occurs, and no others", async () => {
    const child = (id: string, parent: string) => line(id, { parent });
    await sandbox.silt(
      ["put", "notes"],
      child("p#1", "p") + child("p#2", "p") + child("q#1", "q") + line("alone"),
    );
    const { json } = await sandbox.silt(
      ["put", "notes", "--replace", "--json"],
      line("new") + child("p#9", "p"),
    );
    expect(json.acknowledged).toBe(2);
    const get = await sandbox.silt(["get", "notes", "--fresh", "--json"]);
    const ids = get.json.records.map(({ id }: { id: string }) => id);
    expect(ids).toEqual(["alone", "new", "p#9", "q#1"]);
  });

  it("init: the same settings again change nothing, another policy is set", async () => {
    const again = await sandbox.silt(["init", "notes", "--dimension", "2", "--json"]);
    expect(again.json).toMatchObject({ created: false, dimension: 2, policy: "tiered", shards: 1 });
    const other = ["init", "notes", "--dimension", "2", "--policy", "single", "--json"];
    expect((await sandbox.silt(other)).json).toMatchObject({ created: false, policy: "single" });
  });

  it("says on standard error what the answer lacks, and nothing with --quiet", async () => {
    await sandbox.silt(["put", "notes"], line("a"));
    const get = await sandbox.silt(["get", "notes"]);
    expect(get.stdout).toBe("nothing found\n");
    expect(get.stderr).toMatch(/1 registered run not in it \(--fresh sees them\)/);
    expect((await sandbox.silt(["get", "notes", "--quiet"])).stderr).toBe("");
  });

  it("warns of a where key that no record has", async () => {
    await sandbox.silt(["put", "notes"], line("a", { metadata: { shop: "Kino" } }));
    const args = ["get", "notes", "--fresh", "--where", '{"shpo": "Kino"}'];
    expect((await sandbox.silt(args)).stderr).toMatch(/no record has the metadata key "shpo"/);
  });

  it("shows every SQLite file opened, checked and closed with --verbose", async () => {
    const { stderr } = await sandbox.silt(["put", "notes", "--verbose"], line("a"));
    for (const step of ["open", "close", "lock check", "integrity check"]) {
      expect(stderr).toMatch(new RegExp(`debug: sqlite ${step} .*"path":".*delta.sqlite"`));
    }
  });

  it("lets no escape sequence of a record reach the terminal", async () => {
    await sandbox.silt(["put", "notes"], line("a", { document: "\u001b[31mred\u0007" }));
    const { stdout } = await sandbox.silt(["get", "notes", "--fresh"]);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
    expect(stdout).not.toMatch(/[\u001b\u0007]/);
    expect(stdout).toContain("red");
  });

  it("ends with 3 and names object and remedy when verify finds damage", async () => {
    await sandbox.silt(["put", "notes"], line("a"));
    await sandbox.silt(["compact"]);
    const { key, bytes } = await onlySegment(sandbox.store);
    bytes[bytes.length - 50] = (bytes[bytes.length - 50] as number) ^ 8;
    await overwriteObject(sandbox.store, { key, bytes });
    const verify = await sandbox.silt(["verify", "--json"]);
    expect(verify.exitCode).toBe(3);
    expect(verify.json.ok).toBe(false);
    expect(verify.json.problems[0]).toEqual({
      object: key,
      kind: expect.any(String),
      message: expect.any(String),
      remedy: expect.any(String),
    });
    const query = await sandbox.silt(["query", "notes", "--vector", "-"], "[1, 2]");
    expect(query.exitCode).toBe(3);
    expect(query.stdout).toBe("");
  });

  it("inspects a bundle by run id, by key and by file", async () => {
    const put = await sandbox.silt(["put", "notes", "--json"], line("a", { parent: "p" }));
    const { runId } = put.json.runs[0];
    const byRun = await sandbox.silt(["inspect", runId, "--json"]);
    expect(byRun.json).toMatchObject({
      kind: "delta",
      sound: true,
      runId,
      collection: "notes",
      rows: { put: 1, patch: 0, delete: 0 },
      zeroVectors: 0,
      parents: [{ parent: "p", records: 1, normMin: expect.closeTo(Math.sqrt(5)) }],
    });
    await sandbox.silt(["compact"]);
    const { key, bytes } = await onlySegment(sandbox.store);
    const path = join(sandbox.folder, "segment.sqlite");
    writeFileSync(path, bytes);
    const byFile = await sandbox.silt(["inspect", path, "--json"]);
    const byKey = await sandbox.silt(["inspect", key, "--json"]);
    expect(byKey.json).toEqual({ ...byFile.json, target: byKey.json.target });
    expect(byFile.json).toMatchObject({ kind: "segment", sound: true, firstSequence: 1 });
    writeFileSync(join(sandbox.folder, "junk"), "junk");
    const junk = await sandbox.silt(["inspect", join(sandbox.folder, "junk"), "--json"]);
    expect(junk.exitCode).toBe(3);
    expect(junk.json).toMatchObject({ kind: "unknown", sound: false });
  });

  it("exports JSON Lines to standard output that put takes", async () => {
    await sandbox.silt(["put", "notes"], line("a", { document: "tea" }) + line("b"));
    await sandbox.silt(["compact"]);
    const { stdout } = await sandbox.silt(["export", "notes", "--jsonl", "-"]);
    await sandbox.silt(["init", "copy", "--dimension", "2"]);
    const put = await sandbox.silt(["put", "copy", "--json"], stdout);
    expect(put.json.acknowledged).toBe(2);
  });

  it("sends 1,000 lines of several shards through the spool in few runs", async () => {
    await sandbox.silt(["init", "many", "--dimension", "2", "--shards", "4"]);
    const input = Array.from({ length: 1_000 }, (_, index) => line(`r${index}`)).join("");
    const { json } = await sandbox.silt(["put", "many", "--json"], input);
    expect(json.acknowledged).toBe(1_000);
    expect(json.runs.map(({ shard }: { shard: string }) => shard).sort()).toEqual(
      ["0", "1", "2", "3"].map((index) => `${index}-of-4`),
    );
    const get = await sandbox.silt(["get", "many", "--fresh", "--json", "--limit", "2000"]);
    expect(get.json.records).toHaveLength(1_000);
    expect(get.json.shards).toHaveLength(4);
  });
});
