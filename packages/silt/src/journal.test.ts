/** A journal is a folder that anyone may have touched: nothing of it is written again unchecked. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Collection } from "./collection.ts";
import { lineHash } from "./journal-entries.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

let temporary: TemporaryStore;
let notes: Collection;
let folder: string;
let folders = 0;
beforeAll(async () => {
  temporary = await temporaryStore();
  notes = await temporary.store.collection("notes", { dimension: 2, shards: 4 });
});
afterAll(() => temporary[Symbol.asyncDispose]());
beforeEach(() => {
  folders += 1;
  folder = join(temporary.folder, `journal-${folders}`);
  mkdirSync(folder);
});

const linesOf = (...entries: readonly unknown[]): string =>
  entries
    .map((entry) => JSON.stringify(entry))
    .map((json) => `${lineHash(json)} ${json}\n`)
    .join("");
const header = () => {
  const { collection, storeId } = notes.identity;
  return { format: 1, requires: [], collection, storeId };
};
const vector = (...values: number[]) =>
  Buffer.from(new Float32Array(values).buffer).toString("base64");
const PUT = {
  operation: "put",
  id: "a",
  parent: null,
  document: null,
  metadata: {},
  embedding: vector(1, 2),
  sequence: 0,
};

function journal(content: string | Uint8Array, name = "000000001.journal"): void {
  writeFileSync(join(folder, name), content);
}
const open = () => notes.writer({ journal: folder });
const expectRefused = (kind: string, message: RegExp) =>
  expect(open()).rejects.toMatchObject({
    name: "SiltError",
    kind,
    message: expect.stringMatching(message),
  });

describe("a journal that no writer wrote", () => {
  const entries: readonly [what: string, entry: unknown, reason: RegExp][] = [
    ["null", null, /it is no object/],
    ["a number", 7, /it is no object/],
    ["drafts that are no list", { drafts: 7 }, /drafts are no list/],
    ["a draft that is null", { drafts: [null] }, /a draft has no run id/],
    [
      "a draft of another shard",
      { drafts: [{ shard: "../0", runId: "x" }] },
      /a draft is for an unknown shard/,
    ],
    ["a replaced parent that is no text", { replace: {} }, /"replace" is not a string/],
    ["a row that is null", { row: null }, /it has no row/],
    ["an unknown operation", { row: { ...PUT, operation: "merge" } }, /operation is unknown/],
    ["an id that is no text", { row: { ...PUT, id: 7 } }, /"id" is not a string/],
    ["a lone surrogate", { row: { ...PUT, id: "\ud800" } }, /unpaired surrogate/],
    ["no vector", { row: { ...PUT, embedding: undefined } }, /"embedding" is no text/],
    ["half a number", { row: { ...PUT, embedding: "AAA=" } }, /"embedding" has 2 bytes/],
    ["another dimension", { row: { ...PUT, embedding: vector(1) } }, /1 dimensions/],
    ["NaN", { row: { ...PUT, embedding: vector(1, Number.NaN) } }, /\[1\] is NaN/],
    ["metadata that are not flat", { row: { ...PUT, metadata: { a: {} } } }, /not flat/],
    ["no metadata", { row: { ...PUT, metadata: undefined } }, /"metadata" is not an object/],
    ["a document that is a number", { row: { ...PUT, document: 7 } }, /"document" is not a string/],
    ["a parent in another shard", { row: { ...PUT, parent: "p" } }, /expected an id "p#<suffix>"/],
  ];
  for (const [what, entry, reason] of entries) {
    it(`F32 with ${what} under a right hash is refused by line and reason`, async () => {
      journal(linesOf(header(), { row: PUT }, entry));
      await expectRefused("corrupt", reason);
      await expectRefused("corrupt", /line 3 holds what no writer writes .*move the file away/);
    });
  }

  it("F32 is of another collection when its header is no header", async () => {
    for (const strange of [null, 7, [], {}, { ...header(), requires: 7 }, "x".repeat(10_000)]) {
      journal(linesOf(strange));
      await expectRefused("invalid", /it belongs to .*expected notes/);
    }
  });

  it("F31 with one bit flipped in its last line, or in the newline of that, is refused; a torn end is not", async () => {
    const whole = Buffer.from(linesOf(header(), { row: PUT }, { row: { ...PUT, id: "last" } }));
    const lastLine = whole.lastIndexOf(10, whole.length - 2) + 1;
    for (const at of [lastLine, lastLine + 30, whole.length - 1]) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] as number) ^ 4;
      journal(damaged);
      await expectRefused("corrupt", /line 3 is damaged/);
    }
    for (const torn of [
      whole.subarray(0, -1),
      Buffer.from(whole).fill(0, lastLine + 9, whole.length - 1),
    ]) {
      journal(torn);
      await (await open())[Symbol.asyncDispose]();
    }
  });

  it("F32 is no file: pipes are not waited for, links not followed", async () => {
    const outside = join(temporary.folder, "outside");
    writeFileSync(outside, linesOf(header(), { row: PUT }));
    const path = join(folder, "000000001.journal");
    for (const make of [
      () => execFileSync("mkfifo", [path]),
      () => mkdirSync(path),
      () => symlinkSync(outside, path),
      () => symlinkSync("/dev/zero", path),
    ]) {
      make();
      await expectRefused("corrupt", /it is no file; move it away/);
      execFileSync("rm", ["-r", path]);
    }
    expect(readFileSync(outside, "utf8")).toBe(linesOf(header(), { row: PUT }));
  });

  it("F32 has the last number there is: the next file would never be found again", async () => {
    journal(linesOf(header()), "999999999.journal");
    await expectRefused("corrupt", /numbered up to 999999999/);
  });

  it("has a folder in the place of its lock", async () => {
    mkdirSync(join(folder, "lock"));
    await expectRefused("unavailable", /Cannot lock journal/);
  });

  it("F32 keeps keys like __proto__ as data", async () => {
    const json = JSON.stringify({ row: PUT }).replace(
      '"metadata":{}',
      '"metadata":{"__proto__":1,"constructor":"x"}',
    );
    journal(`${linesOf(header())}${lineHash(json)} ${json}\n`);
    await (await open())[Symbol.asyncDispose]();
    const { records } = await notes.get({ ids: ["a"], fresh: true });
    expect(JSON.stringify(records[0]?.metadata)).toBe('{"__proto__":1,"constructor":"x"}');
  });
});
