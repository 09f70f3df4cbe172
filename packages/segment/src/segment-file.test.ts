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
});
