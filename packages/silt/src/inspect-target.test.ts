/** `silt inspect` is pointed at what nobody trusts. */
import { execFileSync } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inspectTarget } from "./inspect-target.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

let temporary: TemporaryStore;
let exported: string;
beforeAll(async () => {
  temporary = await temporaryStore();
  const notes = await temporary.store.collection("notes", { dimension: 2 });
  await notes.put([{ id: "a", embedding: [1, 2] }]);
  await temporary.store.compact();
  exported = join(temporary.folder, "notes.sqlite");
  await temporary.store.export("notes", { sqlite: exported });
});
afterAll(() => temporary[Symbol.asyncDispose]());

const inspect = (target: string) => inspectTarget(temporary.store.context.ports, target);

/** A copy of the export, changed by SQL. */
function forged(name: string, sql: string): string {
  const path = join(temporary.folder, `${name}.sqlite`);
  const db = new Database(exported);
  db.prepare("VACUUM INTO ?").run(path);
  db.close();
  const copy = new Database(path);
  copy.exec(sql);
  copy.close();
  return path;
}

const vectors = (json: string) => `UPDATE meta SET value = '${json}' WHERE key = 'vectors'`;

describe("inspectTarget()", () => {
  it("finds a sound export sound", async () => {
    expect(await inspect(exported)).toMatchObject({ kind: "export", sound: true, problems: [] });
  });

  for (const [what, sql, problem] of [
    ["no vector field", vectors("null"), /meta vectors are not those/],
    ["an empty list of vector fields", vectors("[]"), /meta vectors are not those/],
    ["a dimension without end", vectors('[{"dimension":1e99}]'), /meta vectors are not those/],
    ["a deep list of vectors", vectors("[".repeat(10_000)), /meta vectors are not those/],
    [
      "an unknown kind",
      "UPDATE meta SET value = 'evil' WHERE key = 'kind'",
      /meta kind is evil, expected one of delta, segment, export/,
    ],
    [
      "a view that never ends in the place of meta",
      `DROP TABLE meta; CREATE VIEW meta AS WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
       SELECT x AS key, x AS value FROM n WHERE x < 0`,
      /schema is not that of a Silt file/,
    ],
  ] as const) {
    it(`F32 says what is wrong with ${what}`, async () => {
      const { sound, problems } = await inspect(forged(what.replaceAll(" ", "-"), sql));
      expect(sound).toBe(false);
      expect(problems.join()).toMatch(problem);
    });
  }

  it("F32 waits for no pipe, reads no folder and no device", async () => {
    const pipe = join(temporary.folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    const device = join(temporary.folder, "device");
    symlinkSync("/dev/zero", device);
    for (const target of [pipe, device, temporary.folder]) {
      await expect(inspect(target)).rejects.toMatchObject({
        kind: "invalid",
        message: `Cannot inspect "${target}": it is no file`,
      });
    }
  });

  it("F32 takes a target that is no path and no key for an unknown one", async () => {
    for (const target of ["../../etc/shadow-of-nothing", "x".repeat(10_000), "a\0b"]) {
      await expect(inspect(target)).rejects.toMatchObject({
        kind: "invalid",
        message: expect.stringMatching(/there is no such file, key or run/),
      });
    }
  });

  it("says what a file that is neither bundle nor SQLite file is not", async () => {
    const path = join(temporary.folder, "junk");
    writeFileSync(path, "junk");
    expect((await inspect(path)).problems).toEqual(["the bundle does not begin with delta.json"]);
  });
});
