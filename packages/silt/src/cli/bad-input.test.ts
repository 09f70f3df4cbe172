/** What is refused: the whole call, before anything is written, with line number and reason. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CommandSandbox, commandSandbox } from "./command.fixture.ts";

const GOOD = '{"id": "good", "embedding": [1, 0, 0]}';
const long = (bytes: number) => "x".repeat(bytes);

let sandbox: CommandSandbox;
beforeAll(async () => {
  sandbox = commandSandbox();
  await sandbox.silt(["init", "notes", "--dimension", "3"]);
  await sandbox.silt(["init", "sharded", "--dimension", "3", "--shards", "4"]);
});
afterAll(() => sandbox[Symbol.dispose]());

async function expectNothingWritten(collection = "notes"): Promise<void> {
  const { json } = await sandbox.silt(["status", collection, "--json"]);
  const shards: { head: number }[] = json.collections[0].shards;
  expect(shards.map(({ head }) => head)).toEqual(shards.map(() => 0));
}

const REFUSED: readonly (readonly [what: string, line: string | Uint8Array, reason: RegExp])[] = [
  ["no JSON", "{nope", /line 2: .*not JSON/],
  ["NaN, which is no JSON", '{"id": "a", "embedding": [NaN, 0, 1]}', /line 2: .*not JSON/],
  ["a control character", '{"id": "a\u0000"}', /line 2: .*not JSON/],
  ["a number", "7", /line 2: .*not an object/],
  ["no id", '{"embedding": [1, 0, 0]}', /line 2: .*there is no "id"/],
  ["an empty id", '{"id": "", "embedding": [1, 0, 0]}', /line 2: .*"id" is empty/],
  ["an id that is no text", '{"id": 7, "embedding": [1, 0, 0]}', /line 2: .*not a string/],
  ["a long id", `{"id": "${long(1_025)}", "embedding": [1,0,0]}`, /line 2: .*over 1024 bytes/],
  ["an unpaired surrogate", '{"id": "\\ud800", "embedding": [1,0,0]}', /line 2: .*surrogate/],
  ["an unknown key", '{"id": "a", "vector": [1, 0, 0]}', /line 2: .*unknown key "vector"/],
  ["no vector and no embedder", '{"id": "a"}', /line 2: .*there is no "embedding"/],
  ["another dimension", '{"id": "a", "embedding": [1]}', /line 2: .*1 dimensions.*has 3/],
  ["an infinite number", '{"id": "a", "embedding": [1, 1e999, 0]}', /line 2: .*\[1\] is Infinity/],
  ["a missing number", '{"id": "a", "embedding": [1, null, 0]}', /line 2: .*\[1\] is not a number/],
  ["too large for float32", '{"id": "a", "embedding": [1e39, 0, 0]}', /line 2: .*float32/],
  ["a zero vector", '{"id": "a", "embedding": [0, 0, 0]}', /line 2: .*zero vector/],
  ["a vector that vanishes", '{"id": "a", "embedding": [1e-60, 0, 0]}', /line 2: .*zero vector/],
  [
    "metadata that are not flat",
    '{"id": "a", "embedding": [1,0,0], "metadata": {"a": {"b": 1}}}',
    /line 2: .*metadata/,
  ],
  [
    "metadata with null",
    '{"id": "a", "embedding": [1,0,0], "metadata": {"a": null}}',
    /line 2: .*metadata/,
  ],
  [
    "large metadata",
    `{"id": "a", "embedding": [1,0,0], "metadata": {"a": "${long(65_536)}"}}`,
    /line 2: .*64 KiB/,
  ],
  [
    "a large document",
    `{"id": "a", "embedding": [1,0,0], "document": "${long(1024 * 1024 + 1)}"}`,
    /line 2: .*1 MiB/,
  ],
  ["a line without end", long(9 * 1024 * 1024), /line 2: .*over 8388608 bytes/],
  [
    "an id with other content",
    '{"id": "good", "embedding": [0, 1, 0]}',
    /line 2 repeats the id of line 1 with different content/,
  ],
  ["bytes that are no UTF-8", Buffer.from([0x7b, 0xff, 0x7d]), /line 2: .*UTF-8/],
];

describe("silt put", () => {
  for (const [what, line, reason] of REFUSED) {
    it(`refuses ${what} with line and reason, and writes nothing`, async () => {
      const input = Buffer.concat([Buffer.from(`${GOOD}\n`), Buffer.from(line)]);
      const { exitCode, stderr, stdout } = await sandbox.silt(["put", "notes"], input);
      expect(stderr).toMatch(reason);
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
      expect(exitCode).toBe(2);
      expect(stdout).toBe("");
      await expectNothingWritten();
    });
  }

  it("takes the same record twice as one", async () => {
    using own = commandSandbox();
    await own.silt(["init", "notes", "--dimension", "3"]);
    const { json } = await own.silt(["put", "notes", "--json"], `${GOOD}\n\n${GOOD}\n`);
    expect(json).toMatchObject({ collection: "notes", acknowledged: 1 });
  });

  it("refuses a child that is not named after its parent when there are shards", async () => {
    const line = '{"id": "other#1", "parent": "p", "embedding": [1, 0, 0]}';
    const { exitCode, stderr } = await sandbox.silt(["put", "sharded"], line);
    expect(stderr).toMatch(/line 1: .*4 shards.*"p#<suffix>"/);
    expect(exitCode).toBe(2);
    await expectNothingWritten("sharded");
  });

  it("tells programs the same in one JSON document", async () => {
    const { exitCode, json } = await sandbox.silt(["put", "notes", "--json"], "{}");
    expect(json).toEqual({ error: { kind: "invalid", message: expect.stringMatching(/line 1/) } });
    expect(exitCode).toBe(2);
  });

  it("names a file that is not there", async () => {
    const { exitCode, stderr } = await sandbox.silt(["put", "notes", "/no/such/file"]);
    expect(stderr).toMatch(/Cannot read "\/no\/such\/file": ENOENT/);
    expect(exitCode).toBe(2);
  });
});

describe("silt patch", () => {
  it.each([
    ['{"id": "a", "parent": "p"}', /unknown key "parent"/],
    ['{"id": "a", "metadata": {"a": [1]}}', /metadata/],
    ['{"id": "a"}\n{"id": "a", "document": "x"}', /line 2 repeats the id of line 1/],
  ])("refuses %s", async (input, reason) => {
    const { exitCode, stderr } = await sandbox.silt(["patch", "notes"], input);
    expect(stderr).toMatch(reason);
    expect(exitCode).toBe(2);
  });
});

describe("silt", () => {
  it.each([
    [["qeury", "notes", "x"], /unknown command 'qeury'[\s\S]*Did you mean query/],
    [["put", "notes", "--replce"], /unknown option '--replce'[\s\S]*Did you mean --replace/],
    [["init", "Bad Name", "--dimension", "3"], /Cannot use collection name "Bad Name"/],
    [["init", "x", "--dimension", "0"], /expected a whole number from 1/],
    [["init", "x", "--dimension", "20000"], /expected a whole number from 1 to 16384/],
    [["init", "x"], /neither dimension nor embedder/],
    [["init", "x", "--embedder", "use-lit"], /did you mean "use-lite"/],
    [["init", "x", "--embedder", "use-lite", "--dimension", "5"], /gives 512/],
    [["init", "x", "--dimension", "3", "--metric", "dot"], /Allowed choices are cosine, l2, ip/],
    [["init", "notes", "--dimension", "4"], /it has dimension 3, which never changes/],
    [["init", "notes", "--dimension", "3", "--shards", "2"], /it has shards 1/],
    [["query", "notes"], /0 of TEXT, --vector and --image/],
    [["query", "notes", "text"], /it has no embedder/],
    [["query", "notse", "text"], /Cannot open collection "notse": it does not exist.*notes/],
    [["query", "notes", "--vector", "-", "--where", "{"], /expected JSON/],
    [["query", "notes", "--vector", "-", "-k", "0"], /expected a whole number from 1/],
    [["get", "notes", "--where", '{"a": {"$regex": "x"}}'], /unknown operator "\$regex"/],
    [["delete", "notes"], /0 of --id, --parent and --where/],
    [["delete", "notes", "--id", "a", "--parent", "p"], /2 of --id, --parent and --where/],
    [["delete", "notes", "--id", ""], /"id" is empty/],
    [["delete", "notes", "--parent", "x".repeat(1_025)], /"parent" is over 1024 bytes/],
    [["export", "notes"], /0 of --sqlite and --jsonl/],
    [["export", "notes", "--jsonl", "/no/such/folder/x"], /its folder does not exist/],
    [["inspect", "nothing-here"], /no such file, key or run/],
    [["quarantine", "retry", "nope"], /not in quarantine/],
    [["status", "--store", "s3://bucket/x"], /s3:\/\//],
  ] as const)("refuses %j", async (args, reason) => {
    const { exitCode, stderr } = await sandbox.silt([...args], "[1, 2, 3]");
    expect(stderr).toMatch(reason);
    expect(exitCode).toBe(2);
  });

  it("says how to make a store where there is none", async () => {
    using empty = commandSandbox();
    const { exitCode, stderr } = await empty.silt(["status"]);
    expect(stderr).toMatch(/there is no store.*silt init/);
    expect(exitCode).toBe(2);
  });

  it("never makes a store of a folder that holds something else", async () => {
    using own = commandSandbox();
    writeFileSync(join(own.folder, "letter.txt"), "dear");
    const args = ["init", "notes", "--dimension", "3", "--store", own.folder];
    const { exitCode, stderr } = await own.silt(args);
    expect(stderr).toMatch(/holds "letter.txt"/);
    expect(exitCode).toBe(2);
  });

  it("helps with every command, with examples, and ends with 0", async () => {
    const { stdout } = await sandbox.silt(["--help"]);
    const names = [...stdout.matchAll(/^ {2}([a-z]+) (?:\[|<| )/gm)].map(([, name]) => name ?? "");
    expect(names.length).toBeGreaterThan(14);
    for (const name of names.filter((one) => !["help", "quarantine"].includes(one))) {
      const help = await sandbox.silt([name, "--help"]);
      expect(help.exitCode, name).toBe(0);
      expect(help.stdout, name).toMatch(/Examples:\n {2}\$ .*silt/);
      for (const option of ["--store", "--json", "--quiet"]) expect(help.stdout).toContain(option);
    }
  });
});
