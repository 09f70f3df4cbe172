/** I2 on a real store: the log from its start against the version, and what no hash can tell. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  encodeJson,
  lanesToHex,
  manifestKey,
  parseManifest,
  parsePointer,
  pointerKey,
  type Row,
  rowSums,
  type SnapshotManifest,
  seal,
  sha256Of,
  shardRefs,
} from "@silt/core";
import { rowValues } from "@silt/segment";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Collection } from "./collection.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

let temporary: TemporaryStore;
let notes: Collection;
beforeEach(async () => {
  temporary = await temporaryStore();
  notes = await temporary.store.collection("notes", { dimension: 2, policy: "single" });
});
afterEach(() => temporary[Symbol.asyncDispose]());

const record = (id: string, document = id) => ({ id, document, embedding: [1, 1] });
const pathOf = (key: string) => join(temporary.location, key);
const shardOf = () => shardRefs(notes.identity)[0] ?? expect.fail("there is one");

function overwrite(key: string, bytes: Uint8Array): void {
  rmSync(pathOf(key), { force: true });
  writeFileSync(pathOf(key), bytes);
}

function currentOf(): { manifest: SnapshotManifest; key: string } {
  const pointer = parsePointer(readFileSync(pathOf(pointerKey(shardOf()))), "pointer");
  const key = manifestKey(shardOf(), pointer.version, pointer.commitId);
  return { manifest: parseManifest(readFileSync(pathOf(key)), key), key };
}

/** Changes the one segment by SQL, and makes every hash, count and sum of it right again. */
function forge(change: (db: Database.Database) => void): void {
  const { manifest, key } = currentOf();
  const [segment] = manifest.segments;
  if (segment === undefined) throw new Error("there is a segment");
  overwrite(segment.object.key, readFileSync(pathOf(segment.object.key)));
  const db = new Database(pathOf(segment.object.key));
  change(db);
  const rows = db.prepare("SELECT * FROM rows").all() as { id: string; document: string }[];
  const sums = rows.map(({ id, document }) => rowSums(putOf(id, document)));
  db.close();
  const bytes = readFileSync(pathOf(segment.object.key));
  const add = (of: "v" | "t") =>
    lanesToHex(
      sums.reduce(
        (sum, one) => sum.map((lane, n) => (lane + (one[of][n] ?? 0)) >>> 0),
        [0, 0, 0, 0],
      ) as never,
    );
  const forged = {
    ...segment,
    object: { ...segment.object, bytes: bytes.byteLength, sha256: sha256Of(bytes) },
    rows: { put: rows.length, patch: 0, delete: 0 },
    sums: { v: add("v"), t: add("t") },
  };
  const stats = { ...manifest.stats, rows: rows.length, bytes: bytes.byteLength };
  const encoded = encodeJson({ ...manifest, segments: [forged], stats });
  overwrite(key, encoded);
  const read = readFileSync(pathOf(pointerKey(shardOf())));
  const { selfSha256: _, ...pointer } = parsePointer(read, "pointer");
  const ref = { ...pointer.manifest, bytes: encoded.byteLength, sha256: sha256Of(encoded) };
  overwrite(pointerKey(shardOf()), encodeJson(seal({ ...pointer, manifest: ref })));
}

const putOf = (id: string, document: string): Extract<Row, { operation: "put" }> => ({
  operation: "put",
  id,
  parent: null,
  document,
  metadata: {},
  embedding: new Uint8Array(Float32Array.from([1, 1]).buffer),
  sequence: 1,
});

const rebuild = async () => (await temporary.store.rebuild("notes"))[0];

describe("Store.rebuild()", () => {
  it("I2 gives the version from all of its runs: many batches, patches, deletes, a rollback and poison", async () => {
    await notes.put([record("a"), record("b"), { ...record("p#1"), parent: "p" }]);
    for (let n = 0; n < 70; n++) await notes.put([record(`n-${n % 9}`, String(n))]);
    await temporary.store.compact();
    await notes.patch([{ id: "a", metadata: { seen: true }, document: "patched" }]);
    await notes.replace("p", [{ ...record("p#2"), parent: "p" }]);
    await notes.delete({ id: "b" });
    await temporary.store.compact();
    const [good] = (await temporary.store.versions("notes"))[0]?.shards[0]?.versions ?? [];
    await notes.put([record("undone")]);
    await temporary.store.compact();
    await temporary.store.rollback("notes", good?.version ?? -1);
    const { runs } = await notes.put([record("poison")]);
    const bundle = pathOf(
      `${shardOf() && pointerKey(shardOf()).replace("latest-pointer.json", "")}deltas/${runs[0]?.runId}.tar`,
    );
    const bytes = readFileSync(bundle);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    chmodSync(bundle, 0o644);
    writeFileSync(bundle, bytes);
    await notes.delete({ id: "n-1" });
    await temporary.store.compact();
    expect(await rebuild()).toMatchObject({
      outcome: "equal",
      runs: 75,
      excluded: 2,
      rebuilt: 10,
      current: 10,
      differs: [],
    });
  });

  it("I2 finds other content, a record less and a record more, where every hash, count and sum is right", async () => {
    await notes.put([record("a"), record("b"), record("c")]);
    await temporary.store.compact();
    const insert = (db: Database.Database, row: Row) =>
      db
        .prepare("INSERT INTO rows VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .run(rowValues(row));
    forge((db) => {
      db.exec("DELETE FROM rows WHERE id IN ('a', 'b')");
      insert(db, putOf("b", "forged"));
      insert(db, putOf("d", "d"));
    });
    // Verification asks whether a version is whole, not whether it is what was written.
    expect((await temporary.store.verify()).problems).toEqual([]);
    expect(await rebuild()).toMatchObject({
      outcome: "different",
      rebuilt: 3,
      current: 3,
      differs: ["a", "b", "d"],
    });
  });

  it("names a bundle or a segment that is damaged, and goes on with other shards", async () => {
    const { runs } = await notes.put([record("a")]);
    await temporary.store.compact();
    await temporary.store.collection("other", { dimension: 2 });
    forge((db) => db.exec("UPDATE rows SET document = 'x'"));
    const reports = await temporary.store.rebuild();
    expect(reports).toMatchObject([
      {
        collection: "notes",
        outcome: "failed",
        error: {
          kind: "corrupt",
          message: expect.stringMatching(/segment ".*1-1.sqlite" is unsound \(.*text digest/),
        },
      },
      { collection: "other", outcome: "equal", runs: 0, rebuilt: 0 },
    ]);
    const bundle = pathOf(
      `${pointerKey(shardOf()).replace("latest-pointer.json", "")}deltas/${runs[0]?.runId}.tar`,
    );
    chmodSync(bundle, 0o644);
    writeFileSync(bundle, "rotten");
    expect(await rebuild()).toMatchObject({
      outcome: "failed",
      error: {
        kind: "corrupt",
        message: expect.stringMatching(/the bundle of run 1 ".*" is damaged/),
      },
    });
  });

  it("leaves no file behind, and ends when it is told to", async () => {
    await notes.put([record("a")]);
    await temporary.store.compact();
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error("enough"));
    const options = { signal: controller.signal, onProgress };
    await expect(temporary.store.rebuild("notes", options)).rejects.toThrow("enough");
    expect(await rebuild()).toMatchObject({ outcome: "equal" });
    const health = await temporary.store.doctor();
    expect(health.checks).toContainEqual(
      expect.objectContaining({ name: "tmp", message: "no temporary files" }),
    );
  });
});
