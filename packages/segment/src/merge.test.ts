import { chmodSync, copyFileSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  type DropRule,
  encodeEmbedding,
  type Metadata,
  type MetadataPatch,
  type Row,
  type SegmentContent,
} from "@silt/core";
import { liveRecords, silentLogger } from "@silt/testkit";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type MergeSource, mergeSegments } from "./merge.ts";
import {
  expectSameContent,
  mergeTrial,
  OWNER,
  readContent,
  runMergeTrial,
  type TrialSegment,
  temporaryFolder,
  writeFile,
} from "./merge-trial.fixture.ts";

const SEEDS = 2_000;
/** Seeds that share the shape of their merges; the shapes are as many as trials. */
const SEEDS_A_TRIAL = 8;
const KEEP: DropRule = { drop: "nothing" };
const SPENT: DropRule = { drop: "spent" };

const put = (id: string, parent: string | null = null, more: Partial<Row> = {}): Row =>
  ({
    operation: "put",
    id,
    parent,
    embedding: encodeEmbedding([1, 2]),
    document: `document of ${id}`,
    metadata: {},
    sequence: 0,
    ...more,
  }) as Row;
const gone = (id: string): Row => ({ operation: "delete", id, sequence: 0 });
const patch = (id: string, metadata: MetadataPatch, document: string | null = null): Row => ({
  operation: "patch",
  id,
  document,
  metadata,
  sequence: 0,
});

let folder: ReturnType<typeof temporaryFolder>;
let files = 0;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());
/** A path that no file has yet. */
function pathOf(name: string): string {
  files += 1;
  return join(folder.path, `${files}-${name}.sqlite`);
}

/** The content of run `sequence`. */
function run(sequence: number, rows: readonly Row[], replaced: readonly string[] = []) {
  const content: SegmentContent = {
    rows: new Map(rows.map((row) => [row.id, { ...row, sequence }])),
    replaced: new Map(replaced.map((parent) => [parent, sequence])),
  };
  const path = pathOf(`delta-${sequence}`);
  const source = writeFile(path, content, { kind: "delta", first: sequence });
  return { source, content } satisfies TrialSegment;
}

/** Merges, holds the result against the fold, and gives what came out. */
function merge(inputs: readonly TrialSegment[], rule: DropRule = KEEP) {
  return mergeTrial(inputs, rule, pathOf("merge")).segment;
}
const live = (segment: TrialSegment) => liveRecords(readContent(segment.source.path));
const metadataOf = (segment: TrialSegment, id: string): Metadata | undefined =>
  live(segment).get(id)?.metadata as Metadata | undefined;

describe("mergeSegments()", () => {
  it(`I2 I3 F54 ${SEEDS} random logs, merged in random neighbours, equal core's fold: rows, sums, books`, {
    timeout: 120_000,
  }, () => {
    const total = { merges: 0, records: 0, superseded: 0 };
    for (let seed = 1; seed <= SEEDS; seed += SEEDS_A_TRIAL) {
      const last = seed + SEEDS_A_TRIAL - 1;
      try {
        const tally = runMergeTrial(folder.path, seed, last);
        total.merges += tally.merges;
        total.records += tally.records;
        total.superseded += tally.superseded;
      } catch (error) {
        throw new Error(`seeds ${seed} to ${last}: ${(error as Error).message}`, { cause: error });
      }
    }
    // Else all of this could be true of nothing.
    expect(total.merges).toBeGreaterThan(SEEDS / SEEDS_A_TRIAL);
    expect(total.records).toBeGreaterThan(SEEDS);
    expect(total.superseded).toBeGreaterThan(SEEDS);
  });

  it("F26 F54 a record that a replaced parent killed does not uncover an older one of its id", () => {
    const oldest = merge([run(1, [put("a")])]);
    const killed = merge([run(2, [put("a", "p")]), run(3, [], ["p"])]);
    expect(readContent(killed.source.path).rows.get("a")).toEqual({ ...gone("a"), sequence: 3 });
    expect(live(merge([oldest, killed])).has("a")).toBe(false);
    expect(live(merge([oldest, killed], SPENT)).has("a")).toBe(false);
  });

  it("F26 a delete, then a stale put below it: the record stays away", () => {
    const below = merge([run(1, [put("a")])]);
    const above = merge([run(2, [put("a")]), run(3, [gone("a")])]);
    expect(live(merge([below, above], SPENT)).size).toBe(0);
    expect(live(merge([below, above, run(4, [put("a")])], SPENT)).get("a")?.sequence).toBe(4);
  });

  it("F54 composed patches keep their nulls for what lies further below", () => {
    const old = merge([run(1, [put("a", null, { metadata: { shop: "Kino", seen: true } })])]);
    const patches = merge([
      run(2, [patch("a", { shop: null })]),
      run(3, [patch("a", { price: 2, seen: null }, "new")]),
    ]);
    const merged = merge([old, patches]);
    expect(metadataOf(merged, "a")).toEqual({ price: 2 });
    expect(live(merged).get("a")).toMatchObject({ document: "new", sequence: 3 });
  });

  it("I7 patches that together make a record's metadata larger than one write may bring are merged", () => {
    const large = (key: string) => Object.fromEntries([[key, "x".repeat(60_000)]]);
    const record = run(1, [put("a", null, { metadata: large("first") })]);
    const patches = [run(2, [patch("a", large("second"))]), run(3, [patch("a", large("third"))])];
    const merged = merge([record, merge(patches)]);
    expect(Object.keys(metadataOf(merged, "a") ?? {})).toEqual(["first", "second", "third"]);
  });

  it("a patch reaches a record in an old segment, and no record that was deleted before it", () => {
    const old = merge([run(1, [put("a"), put("b"), put("c", "p")])]);
    const deletes = merge([run(2, [gone("b")], ["p"])]);
    const patches = run(
      3,
      ["a", "b", "c", "none"].map((id) => patch(id, { seen: true })),
    );
    const merged = merge([old, deletes, patches], SPENT);
    expect([...live(merged).keys()]).toEqual(["a"]);
    expect(metadataOf(merged, "a")).toEqual({ seen: true });
    expect(readContent(merged.source.path).rows.size).toBe(1);
  });

  it("more patches than a page holds are all applied, in sorted order of bytes", () => {
    const ids = Array.from(
      { length: 2_500 },
      (_, index) => `${index % 2 ? "é" : "\u{1f600}"}${index}`,
    );
    const old = merge([
      run(
        1,
        ids.map((id) => put(id)),
      ),
    ]);
    const merged = merge([
      old,
      run(
        2,
        ids.map((id) => patch(id, { seen: true })),
      ),
    ]);
    const seen = [...live(merged).values()].filter(({ metadata }) => metadata.seen === true);
    expect(seen).toHaveLength(ids.length);
  });

  it("an id that changes its parent belongs to the new one alone", () => {
    const moved = merge([run(1, [put("a", "p"), put("b", "p")]), run(2, [put("a", "q")])]);
    const first = merge([moved, run(3, [], ["p"])]);
    expect([...live(first).keys()]).toEqual(["a"]);
    expect(live(merge([first, run(4, [], ["q"])])).size).toBe(0);
  });

  it("F67 a parent replaced with fewer children keeps none of its old ones", () => {
    const children = [1, 2, 3, 4].map((panel) => put(`p#${panel}`, "p"));
    const old = merge([run(1, [...children, put("q#1", "q")])]);
    const again = run(2, [put("p#1", "p"), put("p#2", "p")], ["p"]);
    const merged = merge([old, again], SPENT);
    expect([...live(merged).keys()].sort()).toEqual(["p#1", "p#2", "q#1"]);
    expect(live(merged).get("p#1")?.sequence).toBe(2);
  });

  it("F62 deletes, patches and replaced parents go only where the oldest segment is merged", () => {
    const effects = [run(2, [gone("a"), patch("b", {})], ["p"]), run(3, [gone("c")])];
    expect(readContent(merge(effects).source.path).rows.size).toBe(3);
    const all = merge([run(1, [put("d")]), ...effects], SPENT);
    const { rows, replaced } = readContent(all.source.path);
    expect([...rows.keys()]).toEqual(["d"]);
    expect(replaced.size).toBe(0);
    const kept = merge([run(1, [put("d")]), ...effects], { drop: "spent", keepFrom: 3 });
    expect([...readContent(kept.source.path).rows.keys()].sort()).toEqual(["c", "d"]);
  });

  it("F27 a merge of one input alone holds every row of it once", () => {
    const once = merge([run(1, [put("a"), patch("b", { k: null }), gone("c")], ["p"])]);
    const twice = merge([once]);
    expect(twice.source.rows).toEqual({ put: 1, patch: 1, delete: 1 });
    expectSameContent(readContent(twice.source.path), once.content);
  });

  it("leaves its inputs byte for byte as they were, and nothing beside its output", () => {
    const inputs = [merge([run(1, [put("a", "p")])]), run(2, [patch("a", { k: 1 })], ["q"])];
    const before = inputs.map(({ source }) => readFileSync(source.path));
    merge(inputs);
    expect(inputs.map(({ source }) => readFileSync(source.path))).toEqual(before);
  });

  it("makes an output of its own from an input that nobody may write", () => {
    const old = merge([run(1, [put("a")])]);
    chmodSync(old.source.path, 0o444);
    const merged = merge([old, run(2, [put("b")])]);
    expect(statSync(merged.source.path).mode & 0o777).toBe(0o600);
    expect(statSync(old.source.path).mode & 0o777).toBe(0o444);
  });

  it("what was deleted or overwritten is not in the bytes of the output any more", () => {
    const secret = (id: string) => put(id, null, { document: `SECRET of ${id} `.repeat(40) });
    // So many that no page becomes free: the file is not rewritten as a whole.
    const kept = Array.from({ length: 2_000 }, (_, index) => put(`id-${index}`));
    const secrets = ["id-100x", "id-200x", "id-300x"].map(secret);
    const old = merge([run(1, [...secrets, ...kept])]);
    expect(readFileSync(old.source.path).includes("SECRET")).toBe(true);
    const newer = [
      run(2, [gone("id-100x"), put("id-200x")]),
      run(3, [put("id-300x", "p")]),
      run(4, [], ["p"]),
    ];
    const bytes = readFileSync(merge([old, ...newer], SPENT).source.path);
    expect(bytes.length).toBe(readFileSync(old.source.path).length);
    expect(bytes.includes("SECRET")).toBe(false);
  });

  it("gives the pages of dropped rows back", () => {
    const many = Array.from({ length: 3_000 }, (_, index) =>
      put(`id-${index}`, null, { document: `${index} `.repeat(40) }),
    );
    const old = merge([run(1, many)]);
    const merged = merge(
      [
        old,
        run(
          2,
          many.slice(100).map(({ id }) => gone(id)),
        ),
      ],
      SPENT,
    );
    expect(live(merged).size).toBe(100);
    expect(statSync(merged.source.path).size).toBeLessThan(statSync(old.source.path).size / 7);
    const db = new Database(merged.source.path, { readonly: true });
    const pragma = (name: string) => db.pragma(name, { simple: true });
    expect(pragma("freelist_count")).toBe(0);
    expect(pragma("page_size")).toBe(16_384);
    expect(pragma("application_id")).toBe(0x53494c54);
    db.close();
  });
});

/** Inputs of which every kind of row can be damaged. */
function inputsToDamage() {
  return [
    merge([run(1, [put("a", "p"), put("b"), put("c")])]),
    merge([run(2, [put("d"), patch("b", { seen: true }, "B"), gone("c")], ["p"])]),
    run(3, [put("d"), patch("b", { price: 2 }), patch("e", { price: 2 }), put("f")]),
  ];
}

/** Merges with one row of input `index` damaged by `sql`. */
const mergeDamaged = (index: number, sql: string) =>
  mergeForged(index, (db) => expect(db.prepare(sql).run().changes).toBe(1));

function mergeForged(index: number, forge: (db: Database.Database) => void) {
  const sources = inputsToDamage().map(({ source }) => source);
  const source = sources[index] as (typeof sources)[number];
  const path = pathOf("damaged");
  copyFileSync(source.path, path);
  const db = new Database(path);
  forge(db);
  db.close();
  sources[index] = { ...source, path };
  const range = { firstSequence: 1, lastSequence: 3 };
  return mergeSegments(OWNER, sources, range, KEEP, pathOf("refused"), silentLogger);
}

describe("mergeSegments() refuses, for its books do not balance,", () => {
  const damages = [
    [
      "a damaged vector digest of a record that stays",
      0,
      "UPDATE rows SET va = va + 1 WHERE id = 'b'",
    ],
    ["a damaged text digest of a deleted record", 0, "UPDATE rows SET ta = ta + 1 WHERE id = 'c'"],
    ["a damaged digest of a killed record", 0, "UPDATE rows SET vb = vb + 1 WHERE id = 'a'"],
    ["a damaged vector", 0, "UPDATE rows SET embedding = x'0000803f00000000' WHERE id = 'b'"],
    ["a damaged document below a patch", 0, "UPDATE rows SET document = 'x' WHERE id = 'b'"],
    ["a lost record that was to be killed", 0, "DELETE FROM rows WHERE id = 'a'"],
    ["a lost record below a patch", 0, "DELETE FROM rows WHERE id = 'b'"],
    ["a damaged patch of a segment", 1, "UPDATE rows SET metadata = '{}' WHERE id = 'b'"],
    ["a lost replaced parent's victim", 1, "DELETE FROM rows WHERE id = 'c'"],
    ["a damaged patch that meets a record", 2, "UPDATE rows SET metadata = '{}' WHERE id = 'b'"],
    ["a damaged patch that meets nothing", 2, "UPDATE rows SET metadata = '{}' WHERE id = 'e'"],
    ["a damaged document of a new record", 2, "UPDATE rows SET document = 'x' WHERE id = 'd'"],
    ["a lost new record", 2, "DELETE FROM rows WHERE id = 'd'"],
    ["a put that became a delete", 2, "UPDATE rows SET operation = 'delete' WHERE id = 'f'"],
  ] as const;
  for (const [what, index, sql] of damages) {
    it(`I3 F31 ${what}`, () => {
      expect(() => mergeDamaged(index, sql)).toThrow(/Cannot publish merge/);
    });
  }

  it("I3 an input that holds less than its descriptor says", () => {
    const [first, ...rest] = inputsToDamage().map(({ source }) => source);
    const told = { ...(first as MergeSource), rows: { put: 4, patch: 0, delete: 0 } };
    const range = { firstSequence: 1, lastSequence: 3 };
    expect(() =>
      mergeSegments(OWNER, [told, ...rest], range, KEEP, pathOf("refused"), silentLogger),
    ).toThrow(/its accounts do not balance \(11 rows in/);
  });
});

describe("mergeSegments() refuses", () => {
  it("I3 an output of which an input's row is newer", () => {
    // Nothing about its number is in a row's digests, so that the books cannot tell.
    expect(() => mergeDamaged(1, "UPDATE rows SET sequence = 9 WHERE id = 'd'")).toThrow(
      /id "d" lost its newest row/,
    );
  });

  it("F32 an input with a trigger or a view: nothing of it runs", () => {
    const trigger = "CREATE TRIGGER evil AFTER INSERT ON rows BEGIN DELETE FROM rows; END";
    const view = "DROP TABLE replaced; CREATE VIEW replaced AS SELECT 'p' AS parent, 1 AS sequence";
    for (const sql of [trigger, view]) {
      for (const index of [0, 1, 2]) {
        const forged = () => mergeForged(index, (db) => db.exec(sql));
        expect(forged).toThrow(/Cannot merge .*schema is not that of/);
      }
    }
  });

  it("I2 inputs that are out of order, overlap, or leave the range", () => {
    const [first, second, third] = inputsToDamage().map(({ source }) => source) as [
      MergeSource,
      MergeSource,
      MergeSource,
    ];
    for (const inputs of [[], [second, first], [first, third, second], [first, first], [third]]) {
      const range = { firstSequence: 1, lastSequence: 2 };
      expect(() =>
        mergeSegments(OWNER, inputs, range, KEEP, pathOf("refused"), silentLogger),
      ).toThrow(/expected runs from 1 to 2, oldest first/);
    }
  });
});
