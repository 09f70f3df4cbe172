import type { DeltaManifest } from "@silt/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type BundlePlace,
  bodyOf,
  bundleOf,
  manifestFor,
  openBundlePlace,
  poisonReason,
  runOf,
  SAMPLE,
  sampleDelta,
} from "./hostile-bundle.fixture.ts";
import { expectSameContent, OWNER, unstampedOf } from "./merge-trial.fixture.ts";
import type { SqliteDatabase } from "./sqlite-file.ts";

const DIMENSION_BYTES = 8;

let place: BundlePlace;
beforeAll(async () => {
  place = await openBundlePlace();
});
afterAll(() => place[Symbol.asyncDispose]());

describe("F32 a bundle that is not what was registered is poison", () => {
  const wrong: readonly [string, (manifest: DeltaManifest) => object, RegExp][] = [
    [
      "another run",
      (m) => ({ ...m, runId: "019b7684-0000-7000-8000-000000000001" }),
      /another run or store/,
    ],
    ["another collection", (m) => ({ ...m, collection: "words" }), /another run or store/],
    ["another shard", (m) => ({ ...m, shard: "1-of-2" }), /another run or store/],
    ["another store", (m) => ({ ...m, storeId: "store0000009" }), /another run or store/],
    [
      "another dimension",
      (m) => ({ ...m, vectors: [{ ...OWNER.vectors[0], dimension: 3 }] }),
      /vectors are not the collection's/,
    ],
    [
      "another embedder",
      (m) => ({ ...m, vectors: [{ ...OWNER.vectors[0], embedder: "clip" }] }),
      /vectors are not the collection's/,
    ],
    [
      "other counts",
      (m) => ({ ...m, rows: { ...m.rows, put: 2 } }),
      /not those that its manifest counts/,
    ],
    [
      "another number of replaced parents",
      (m) => ({ ...m, replaced: 2 }),
      /not those that its manifest counts/,
    ],
    [
      "other sums",
      (m) => ({ ...m, sums: { ...m.sums, t: "0".repeat(32) } }),
      /not those that its manifest counts/,
    ],
    ["another length", (m) => ({ ...m, sqlite: { ...m.sqlite, bytes: 1 } }), /length and hash/],
    [
      "another hash",
      (m) => ({ ...m, sqlite: { ...m.sqlite, sha256: "0".repeat(64) } }),
      /length and hash/,
    ],
    [
      "another name",
      (m) => ({ ...m, sqlite: { ...m.sqlite, name: "x" } }),
      /Cannot read delta.json/,
    ],
  ];
  for (const [what, change, reason] of wrong) {
    it(what, async () => {
      const { sqlite, manifest } = sampleDelta(place.scratch);
      const tar = bundleOf(change(manifest), sqlite);
      expect(poisonReason(await place.receive(tar, manifest))).toMatch(reason);
    });
  }

  it("other counts than those in the log", async () => {
    const { sqlite, manifest } = sampleDelta(place.scratch);
    const { rows, replaced } = manifest;
    for (const told of [
      { rows: { ...rows, delete: 2 }, replaced },
      { rows, replaced: replaced + 1 },
    ]) {
      expect(poisonReason(await place.receive(bundleOf(manifest, sqlite), told))).toMatch(
        /manifest counts/,
      );
    }
  });

  it("another length or hash than in the log, however long the body is", async () => {
    const { sqlite, manifest } = sampleDelta(place.scratch);
    const tar = bundleOf(manifest, sqlite);
    const run = runOf(tar, manifest);
    let pulled = 0;
    async function* endless() {
      for (;;) {
        pulled += 1;
        yield Buffer.alloc(64 * 1024);
      }
    }
    const bodies = [bodyOf(tar.subarray(512)), bodyOf(Buffer.concat([tar, tar])), endless()];
    for (const body of bodies) {
      expect(poisonReason(await place.workbench.receiveDelta(OWNER, run, body))).toMatch(
        /registered were/,
      );
    }
    expect(pulled).toBeLessThan(10);
  });

  it("F35 one that requires what this version does not know is no poison: nobody may compact it", async () => {
    const { sqlite, manifest } = sampleDelta(place.scratch);
    const tar = bundleOf({ ...manifest, requires: ["zstd"] }, sqlite);
    await expect(place.receive(tar, manifest)).rejects.toMatchObject({
      name: "SiltError",
      kind: "invalid",
      message: expect.stringMatching(/requires zstd.*upgrade Silt/),
    });
  });
});

describe("F32 a hostile SQLite file is poison", () => {
  const sql = (text: string) => (db: SqliteDatabase) => void db.exec(text);
  const row = (change: string) => sql(`UPDATE rows SET ${change} WHERE id = 'a'`);
  const floats = (...values: number[]) =>
    `x'${Buffer.from(new Float32Array(values).buffer).toString("hex")}'`;
  const hostile: readonly [string, (db: SqliteDatabase) => void, RegExp][] = [
    [
      "trigger",
      sql("CREATE TRIGGER evil AFTER INSERT ON rows BEGIN DELETE FROM rows; END"),
      /schema is not that of a Silt file/,
    ],
    ["view", sql("CREATE VIEW evil AS SELECT * FROM rows"), /schema is not that/],
    [
      "view in the place of a table",
      sql("DROP TABLE replaced; CREATE VIEW replaced AS SELECT 'p' AS parent, 0 AS sequence"),
      /schema is not that/,
    ],
    [
      "generated column",
      sql("ALTER TABLE rows ADD COLUMN evil AS (id || 'x')"),
      /schema is not that/,
    ],
    ["another table", sql("CREATE TABLE more (x)"), /schema is not that/],
    ["no index", sql("DROP INDEX rows_id"), /schema is not that/],
    [
      "more tables than a schema page holds",
      (db) => {
        for (let table = 0; table < 1_000; table++) db.exec(`CREATE TABLE more_${table} (x)`);
      },
      /schema is larger than that of a Silt file/,
    ],
    [
      "a statement of a megabyte",
      sql(`CREATE TABLE more (x /* ${"x".repeat(900_000)} */)`),
      /schema has a statement of 900\d{3} bytes/,
    ],
    [
      "other pages",
      (db) => {
        db.pragma("page_size = 4096");
        db.exec("VACUUM");
      },
      /pages have 4096 bytes, expected 16384/,
    ],
    [
      "auto_vacuum",
      (db) => {
        db.pragma("auto_vacuum = FULL");
        db.exec("VACUUM");
      },
      /no auto_vacuum/,
    ],
    ["wrong application id", (db) => db.pragma("application_id = 1"), /application id is 1/],
    ["wrong schema version", (db) => db.pragma("user_version = 2"), /schema version is 2/],
    ["WAL mode", (db) => db.pragma("journal_mode = WAL"), /it is in WAL mode/],
    ["text in the place of a vector", row("embedding = 'abcdefgh'"), /embedding is no BLOB/],
    ["NaN", row(`embedding = ${floats(Number.NaN, 1)}`), /"embedding"\[0\] is NaN/],
    [
      "infinity",
      row(`embedding = ${floats(1, Number.POSITIVE_INFINITY)}`),
      /"embedding"\[1\] is Infinity/,
    ],
    ["zero vector under cosine", row(`embedding = zeroblob(${DIMENSION_BYTES})`), /zero vector/],
    ["wrong dimension", row(`embedding = ${floats(1, 2, 3)}`), /12 bytes, expected 8/],
    ["no vector", row("embedding = NULL"), /embedding is no BLOB/],
    ["another vector than the digest's", row(`embedding = ${floats(2, 1)}`), /vector digest/],
    ["another parent than the digest's", row("parent = 'q'"), /vector digest/],
    ["another document than the digest's", row("document = 'three teas'"), /text digest/],
    ["another id than the digest's", row("id = 'z'"), /digest/],
    [
      "metadata that no patches add up to",
      row(`metadata = '{"k":"${"x".repeat(17 * 1024 * 1024)}"}'`),
      /"metadata" is over 16777216 bytes/,
    ],
    ["a document of megabytes", row("document = zeroblob(2000000)"), /"document" is over 1048576/],
    ["a number of a megabyte", row("ta = zeroblob(1000000)"), /"ta" is over 20 bytes/],
    ["a strange value in meta", sql("UPDATE meta SET value = zeroblob(1000000)"), /meta table/],
    [
      "an id that is not UTF-8",
      row("id = CAST(x'ff' AS TEXT)"),
      /row "\ufffd": its text is not UTF-8/,
    ],
    [
      "a document that is not UTF-8, at the end",
      row("document = CAST(x'61f09f98' AS TEXT)"),
      /row "a": its text is not UTF-8/,
    ],
    [
      "a replaced parent that is not UTF-8",
      sql("UPDATE replaced SET parent = CAST(x'ff' AS TEXT)"),
      /replaced parent is not UTF-8/,
    ],
    [
      "a replaced parent that is too long",
      sql("UPDATE replaced SET parent = zeroblob(1025)"),
      /replaced parent: "parent" is over 1024 bytes/,
    ],
    ["metadata that is not flat", row(`metadata = '{"k":{"deep":1}}'`), /not flat/],
    ["metadata with null in a put", row(`metadata = '{"k":null}'`), /is null/],
    [
      "metadata that is not canonical",
      row(`metadata = '{"total": 5,"shop":"Kino"}'`),
      /digest|canonical/,
    ],
    ["metadata that is no JSON", row("metadata = '{'"), /no JSON/],
    ["metadata that is no text", row("metadata = x'7b7d'"), /metadata is no text/],
    ["no metadata", row("metadata = NULL"), /metadata is no text/],
    [
      "oversized document",
      row(`document = '${"x".repeat(1024 * 1024 + 1)}'`),
      /over 1048576 bytes/,
    ],
    ["document that is no text", row("document = x'00'"), /"document" is not a string/],
    ["oversized id", row(`id = '${"x".repeat(1_025)}'`), /over 1024 bytes/],
    ["empty id", row("id = ''"), /"id" is empty/],
    ["id that is no text", row("id = x'01'"), /"id" is not a string/],
    ["unknown operation", row("operation = 'merge'"), /unknown operation/],
    ["delete with a vector", row("operation = 'delete'"), /a delete has a parent or a vector/],
    ["sequence number in a delta", row("sequence = 5"), /sequence is 5/],
    ["sequence that is no number", row("sequence = 'x'"), /sequence is x/],
    [
      "replaced parent with a sequence",
      sql("UPDATE replaced SET sequence = 5"),
      /replaced parent has sequence 5/,
    ],
    [
      "replaced parent without a name",
      sql("UPDATE replaced SET parent = ''"),
      /"replaced parent" is empty/,
    ],
    ["extra meta key", sql("INSERT INTO meta VALUES ('more', 'x')"), /meta table is not that/],
    ["missing meta key", sql("DELETE FROM meta WHERE key = 'shard'"), /meta table is not that/],
    [
      "meta of another collection",
      sql("UPDATE meta SET value = 'words' WHERE key = 'collection'"),
      /meta collection is words/,
    ],
    [
      "meta of another shard",
      sql("UPDATE meta SET value = '1-of-2' WHERE key = 'shard'"),
      /meta shard is 1-of-2/,
    ],
    [
      "meta of another run",
      sql("UPDATE meta SET value = 'x' WHERE key = 'runId'"),
      /meta runId is x/,
    ],
    [
      "a segment in the place of a delta",
      sql("UPDATE meta SET value = 'segment' WHERE key = 'kind'"),
      /meta kind is segment/,
    ],
    [
      "a row more than counted",
      sql(
        "INSERT INTO rows SELECT 9, operation, 'd', NULL, 0, NULL, NULL, ta, tb, NULL, NULL, NULL FROM rows WHERE id = 'c'",
      ),
      /digest/,
    ],
    ["a row less than counted", sql("DELETE FROM rows WHERE id = 'c'"), /manifest counts/],
  ];
  for (const [what, damage, reason] of hostile) {
    it(what, async () => {
      const { sqlite, manifest } = sampleDelta(place.scratch, damage);
      const tar = bundleOf(manifest, sqlite);
      expect(poisonReason(await place.receive(tar, manifest))).toMatch(reason);
    });
  }

  it("a reason that a bundle made long is cut: it is kept for good", async () => {
    const metadata = `{"${"k".repeat(100_000)}":{}}`;
    const { sqlite, manifest } = sampleDelta(place.scratch, row(`metadata = '${metadata}'`));
    const reason = poisonReason(await place.receive(bundleOf(manifest, sqlite), manifest));
    expect(reason).toMatch(/^row "a": "metadata" key "kkk/);
    expect(reason.length).toBeLessThan(1_100);
  });

  const with32 = (sqlite: Buffer, at: number, value: number) => {
    sqlite.writeUInt32BE(value, at);
    return sqlite;
  };
  const files: readonly [string, (sqlite: Buffer) => Buffer, RegExp][] = [
    ["no SQLite file", () => Buffer.from("not SQLite ".repeat(100)), /no SQLite file/],
    ["an empty file", () => Buffer.alloc(0), /no SQLite file/],
    ["text in UTF-16", (sqlite) => with32(sqlite, 56, 2), /not UTF-8/],
    [
      "a format of SQLite that does not exist",
      (sqlite) => with32(sqlite, 44, 9),
      /unsupported file format|malformed/,
    ],
    [
      "a page size that does not exist",
      (sqlite) => with32(sqlite, 16, 0x00030101),
      /pages have 3 bytes/,
    ],
    [
      "reserved bytes in each page",
      (sqlite) => {
        sqlite[20] = 32;
        return sqlite;
      },
      /reserves bytes of each page/,
    ],
    ["half of a page", (sqlite) => sqlite.subarray(0, 8_000), /ends within its first page/],
    [
      "half of its pages",
      (sqlite) => sqlite.subarray(0, sqlite.byteLength / 2),
      /malformed|integrity_check/,
    ],
    [
      "a page of zeros",
      (sqlite) => sqlite.fill(0, 3 * 16_384, 4 * 16_384),
      /malformed|integrity_check/,
    ],
  ];
  for (const [what, damage, reason] of files) {
    it(what, async () => {
      const { sqlite, manifest } = sampleDelta(place.scratch);
      const damaged = damage(Buffer.from(sqlite));
      const tar = bundleOf(manifestFor(manifest, damaged), damaged);
      expect(poisonReason(await place.receive(tar, manifest))).toMatch(reason);
    });
  }
});

describe("F31 F32 any byte of the header of a SQLite file", () => {
  const HEADER_BYTES = 100;

  it("makes poison, or a file that can be read and merged: never a shard that is stuck", {
    timeout: 60_000,
  }, async () => {
    const { sqlite, manifest } = sampleDelta(place.scratch);
    const outcomes = { poison: 0, sound: 0 };
    for (let at = 0; at < HEADER_BYTES; at++) {
      for (const value of [0, 2, 0xff]) {
        const changed = Buffer.from(sqlite);
        changed[at] = value;
        const tar = bundleOf(manifestFor(manifest, changed), changed);
        const received = await place.receive(tar, manifest);
        outcomes[received.outcome] += 1;
        if (received.outcome === "poison") {
          expect(received.reason).not.toContain(place.scratch);
          expect(received.reason).not.toMatch(/\n|\.part/);
          continue;
        }
        expectSameContent(unstampedOf(await place.workbench.readDelta(received.input)), SAMPLE);
        const range = { firstSequence: 7, lastSequence: 7 };
        const rule = { drop: "nothing" } as const;
        const merged = await place.workbench.merge(OWNER, [received.input], { ...range, rule });
        expect(merged.rows).toEqual(manifest.rows);
      }
    }
    expect(outcomes.poison).toBeGreaterThan(100);
    expect(outcomes.sound).toBeGreaterThan(50);
  });
});
