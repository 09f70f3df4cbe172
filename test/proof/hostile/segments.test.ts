/**
 * Issue 4, hostile input: a compactor that lies. Its segment has every hash and descriptor right, and
 * something inside that no merge makes. No reader dies of it, and `verify` names the segment.
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  encodeJson,
  type Pointer,
  parsePointer,
  readManifest,
  readPointer,
  type SegmentOwner,
  seal,
  sha256Of,
  shardRefs,
} from "@silt/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLocalPorts } from "../../../packages/local/src/index.ts";
import { Store } from "../../../packages/silt/src/store.ts";
import { type SqliteDatabase, withSql } from "./forge-delta.ts";
import {
  contentsOf,
  type Ending,
  endingOf,
  type HostileWorld,
  openHostileWorld,
} from "./hostile-world.ts";

let world: HostileWorld;
let owner: SegmentOwner;
let copies = 0;
beforeAll(async () => {
  world = await openHostileWorld();
  const notes = await world.store.collection("notes");
  const [shard] = shardRefs(notes.identity);
  if (shard === undefined) throw new Error("no shard");
  owner = { ...shard, vectors: notes.identity.vectors };
  await notes.patch([{ id: "a", metadata: { seen: true } }]);
});
afterAll(() => world[Symbol.asyncDispose]());

const put = (change: string) => (db: SqliteDatabase) =>
  void db.exec(`UPDATE rows SET ${change} WHERE id = 'a'`);
const sql = (text: string) => (db: SqliteDatabase) => void db.exec(text);

const CASES: readonly [name: string, damage: (db: SqliteDatabase) => void][] = [
  ["metadata that are no JSON", put("metadata = '{'")],
  ["metadata that are a list", put("metadata = '[1]'")],
  ["metadata that are null", put("metadata = 'null'")],
  ["no metadata", put("metadata = NULL")],
  ["metadata as bytes", put("metadata = x'ff00'")],
  ["deep metadata", put(`metadata = '{"a":${"[".repeat(50_000)}${"]".repeat(50_000)}}'`)],
  ["no vector", put("embedding = NULL")],
  ["text for a vector", put("embedding = 'abcdefgh'")],
  ["a vector of another dimension", put("embedding = zeroblob(400)")],
  [
    "vectors of another dimension, as its own meta table says",
    sql(`UPDATE meta SET value = replace(value, '"dimension":2', '"dimension":100') WHERE key = 'vectors';
      UPDATE rows SET embedding = zeroblob(400)`),
  ],
  ["a vector of an odd length", put("embedding = x'010203'")],
  ["NaN", put("embedding = x'0000c07f0000c07f'")],
  ["a document as bytes", put("document = x'ff'")],
  ["a document that is a number", put("document = 7")],
  ["an id as bytes", put("id = x'61'")],
  ["an id that is no UTF-8", put("id = CAST(x'ff' AS TEXT)")],
  ["a parent as bytes", put("parent = x'70'")],
  ["an unknown operation", put("operation = 'evil'")],
  ["a put that is a patch", put("operation = 'patch'")],
  ["a sequence that is text", put("sequence = 'x'")],
  ["a sequence without end", put("sequence = 9223372036854775807")],
  ["a rowid without end", put("row = 9223372036854775807")],
  ["a rowid below all", put("row = -9223372036854775808")],
  ["a replaced parent", sql("INSERT INTO replaced VALUES ('p', 9223372036854775807)")],
  ["a replaced parent as bytes", sql("INSERT INTO replaced VALUES (x'70', 'x')")],
  ["a row less", sql("DELETE FROM rows WHERE id = 'a'")],
  ["no rows", sql("DELETE FROM rows")],
  ["no meta", sql("DELETE FROM meta")],
  ["a trigger", sql("CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM rows; END")],
  [
    "a view in the place of rows",
    sql("ALTER TABLE rows RENAME TO r; CREATE VIEW rows AS SELECT * FROM r"),
  ],
  ["no index", sql("DROP INDEX rows_id")],
];

/** A copy of the store whose only segment is forged; manifest and pointer have its hash. */
async function forge(damage: (db: SqliteDatabase) => void): Promise<string> {
  copies += 1;
  const root = join(world.inside, `forged-${copies}`);
  cpSync(world.sandbox.store, root, { recursive: true });
  const { objects } = world.store.context.ports;
  const { pointer } = await readPointer(objects, owner);
  const manifest = await readManifest(objects, pointer);
  const overwrite = (key: string, bytes: Uint8Array) => {
    rmSync(join(root, key));
    writeFileSync(join(root, key), bytes);
    return { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  };
  const segments = manifest.segments.map((segment) => {
    const { key } = segment.object;
    const file = withSql(readFileSync(join(root, key)), damage);
    return { ...segment, object: { ...segment.object, ...overwrite(key, file) } };
  });
  const told = overwrite(pointer.manifest.key, encodeJson({ ...manifest, segments }));
  const { selfSha256: _, ...rest } = pointer;
  const next = { ...rest, manifest: { ...pointer.manifest, ...told } };
  const { collection, storeId, shard } = owner;
  const pointerFile = `collections/${collection}/${storeId}/shards/${shard}/latest-pointer.json`;
  overwrite(pointerFile, encodeJson(seal<Omit<Pointer, "selfSha256">>(next)));
  parsePointer(readFileSync(join(root, pointerFile)), "pointer");
  return root;
}

async function observe(root: string): Promise<{ endings: Ending[]; said: string }> {
  const { context } = world.store;
  const { engine, logger, metrics } = context.ports;
  const stack = new AsyncDisposableStack();
  const ports = stack.use(await openLocalPorts(root, { create: false, engine, logger, metrics }));
  await using store = new Store({ ...context, ports }, root, stack);
  const notes = () => store.collection("notes");
  const said: string[] = [];
  const actions: readonly (() => Promise<unknown>)[] = [
    () => contentsOf(store),
    () => contentsOf(store, "notes", true),
    async () => (await notes()).get({ ids: ["a"], fresh: true }),
    async () => (await notes()).get({ parent: "p" }),
    async () => (await notes()).get({ where: { seen: true }, fresh: true }),
    async () => (await notes()).query({ vector: [3, 4] }),
    async () => (await notes()).query({ vector: [3, 4], fresh: true, where: { seen: true } }),
    async () => (await notes()).delete({ where: { shop: "Kino" } }),
    () => store.export("notes", { sqlite: join(root, "..", `export-${copies}.sqlite`) }),
    () => store.export("notes", { jsonl: join(root, "..", `export-${copies}.jsonl`) }),
    async () => {
      const { problems } = await store.verify({ deep: true });
      said.push(...problems.map(({ object, kind }) => `${kind} ${object}`));
    },
    async () => said.push(...(await store.compact()).map((report) => JSON.stringify(report))),
  ];
  const endings: Ending[] = [];
  for (const action of actions) endings.push(await endingOf(action));
  return { endings, said: said.join("\n") };
}

describe("F32 a segment under right hashes, with", () => {
  for (const [name, damage] of CASES) {
    it(name, async () => {
      const before = world.outside();
      const { endings, said } = await observe(await forge(damage));
      for (const [index, ending] of endings.entries()) {
        expect(ending.ended, `action ${index}: ${JSON.stringify(ending).slice(0, 600)}`).not.toBe(
          "died",
        );
      }
      expect(said).toMatch(/segment-unsound collections\/notes\//);
      expect(world.outside()).toBe(before);
    });
  }
});
