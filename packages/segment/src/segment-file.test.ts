import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "@silt/testkit";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SAMPLE } from "./hostile-bundle.fixture.ts";
import { temporaryFolder, writeFile } from "./merge-trial.fixture.ts";
import { openSegmentFile } from "./segment-file.ts";

let folder: ReturnType<typeof temporaryFolder>;
let path: string;
beforeEach(() => {
  folder = temporaryFolder();
  path = join(folder.path, "x.sqlite");
  writeFile(path, SAMPLE, { kind: "segment", first: 1 });
});
afterEach(() => folder[Symbol.dispose]());

function damage(sql: string): void {
  const db = new Database(path);
  db.exec(sql);
  db.close();
}

describe("openSegmentFile()", () => {
  it("opens a sound file", () => {
    using file = openSegmentFile(path, silentLogger);
    expect(file.counts()).toEqual({ put: 1, patch: 1, delete: 1 });
  });

  for (const [what, sql] of [
    ["meta", "CREATE VIEW meta AS SELECT 'kind' AS key, 'segment' AS value"],
    ["rows", "CREATE VIEW rows AS SELECT 1 AS row, 'put' AS operation, 'a' AS id"],
    ["replaced", "CREATE VIEW replaced AS SELECT 'p' AS parent, 1 AS sequence"],
  ] as const) {
    it(`F32 a view in the place of ${what} is never asked: it could run for ever`, () => {
      damage(`DROP TABLE ${what}; ${sql}`);
      expect(() => openSegmentFile(path, silentLogger)).toThrow(
        expect.objectContaining({
          kind: "corrupt",
          message: expect.stringMatching(/Cannot read segment .*schema is not that of a Silt file/),
        }),
      );
    });
  }

  const strange: readonly [what: string, change: string, message: RegExp][] = [
    ["metadata that are no JSON", "metadata = '{'", /metadata is no flat JSON object/],
    ["metadata that are null", "metadata = 'null'", /metadata is no flat JSON object/],
    ["deep metadata", `metadata = '{"a":{"b":1}}'`, /metadata is no flat JSON object/],
    ["a document as bytes", "document = x'ff'", /its document is no text/],
    ["a parent as bytes", "parent = x'70'", /its parent is no text/],
    ["no vector", "embedding = NULL", /its vector is none/],
    ["an unknown operation", "operation = 'evil'", /its operation is unknown/],
  ];
  for (const [what, change, message] of strange) {
    it(`F32 a row with ${what} is corrupt, whatever the file's hash says`, () => {
      damage(`UPDATE rows SET ${change} WHERE id = 'a'`);
      using file = openSegmentFile(path, silentLogger);
      expect(() => file.row("a")).toThrow(
        expect.objectContaining({ kind: "corrupt", message: expect.stringMatching(message) }),
      );
    });
  }

  it("F32 a vector of another length, or under a number that JavaScript cannot hold, is corrupt", () => {
    for (const change of ["embedding = zeroblob(400)", "row = 9223372036854775807"]) {
      damage(`UPDATE rows SET ${change} WHERE id = 'a'`);
      using file = openSegmentFile(path, silentLogger);
      expect(() => [...file.vectors(2)]).toThrow(expect.objectContaining({ kind: "corrupt" }));
    }
  });

  it("F31 a page of vectors that is damaged under an open file is corrupt", () => {
    const bytes = readFileSync(path);
    const rows = new Database(path);
    const root = rows.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'rows'").pluck();
    const page = Number(root.get()) - 1;
    rows.close();
    // More cells than a page can have.
    bytes.writeUInt16BE(0xffff, page * 16_384 + 3);
    writeFileSync(path, bytes);
    using file = openSegmentFile(path, silentLogger);
    expect(() => [...file.vectors(2)]).toThrow(
      expect.objectContaining({ kind: "corrupt", message: expect.stringMatching(/malformed/) }),
    );
  });
});
