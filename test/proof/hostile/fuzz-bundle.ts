/** Fuzz targets: bundles, changed as tars, as SQLite files, and in their manifests. */
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import {
  addLanes,
  canonicalJson,
  type DeltaManifest,
  encodeEmbedding,
  isSiltError,
  type Lanes,
  lanesOf,
  lanesToHex,
  type MergeInput,
  type Row,
  ZERO_LANES,
} from "@silt/core";
import type { SeededRandom } from "@silt/testkit";
import {
  bodyOf,
  manifestFor,
  runOf,
  SAMPLE,
  type TarEntry,
  tarOf,
} from "../../../packages/segment/src/hostile-bundle.fixture.ts";
import {
  expectSameContent,
  unstampedOf,
} from "../../../packages/segment/src/merge-trial.fixture.ts";
import {
  insertRow,
  jsonMember,
  type SqliteDatabase,
  sqliteMember,
  withSql,
} from "./forge-delta.ts";
import { type FuzzArena, type FuzzTarget, insist } from "./fuzz-arena.ts";
import { mutateBytes, mutateJson, mutateText, oddValue } from "./mutate.ts";

const REASON_CHARS_MAX = 1_100;

/** Receives it as registered; a sound one is read by both builds of SQLite. `invalid` is a later format. */
async function receive(
  arena: FuzzArena,
  tar: Uint8Array,
  manifest: Pick<DeltaManifest, "rows" | "replaced">,
): Promise<MergeInput | string> {
  const { workbench, owner, runId } = arena;
  const run = { ...runOf(tar, manifest), runId };
  try {
    const received = await workbench.receiveDelta(owner, run, bodyOf(tar), { deep: true });
    if (received.outcome === "sound") return received.input;
    insist(received.reason !== "", "a reason without words");
    insist(received.reason.length < REASON_CHARS_MAX, `a reason of ${received.reason.length}`);
    insist(!received.reason.includes(tmpdir()), `our path in: ${received.reason}`);
    insist(
      !/Cannot read propert|not a function|is not iterable/.test(received.reason),
      received.reason,
    );
    return "poison";
  } catch (error) {
    if (isSiltError(error, "invalid") && error.message.includes("upgrade Silt")) return "later";
    throw error;
  }
}

export const fuzzTar: FuzzTarget = async (random, arena) => {
  const { manifest, sqlite } = arena.sound;
  let members = [jsonMember(manifest), sqliteMember(sqlite)];
  for (let left = random.int(3); left > 0; left--) members = mutateMembers(random, members);
  let tar = tarOf(...members);
  for (let left = random.int(2); left > 0; left--) tar = mutateBytes(random, tar);
  const received = await receive(arena, tar, manifest);
  if (typeof received === "string") return received;
  expectSameContent(unstampedOf(await arena.workbench.readDelta(received)), SAMPLE);
  return "sound";
};

function mutateMembers(random: SeededRandom, members: readonly TarEntry[]): TarEntry[] {
  const copy = [...members];
  const at = random.int(copy.length);
  const member = copy[at] ?? { name: "delta.json" };
  const body = Buffer.from(random.bytes(random.int(2_000)));
  const name = random.pick([
    "delta.json",
    "delta.sqlite",
    "../../evil",
    "/evil",
    "",
    "x".repeat(100),
  ]);
  const type = random.pick([..."0123456789gxLKSVMNDZ", "\0", " "]);
  const changes: readonly (() => void)[] = [
    () => copy.splice(at, 1),
    () => copy.splice(at, 0, member),
    () => copy.reverse(),
    () => copy.splice(at, 0, { name, type, body }),
    () => copy.splice(at, 1, { ...member, name }),
    () => copy.splice(at, 1, { ...member, type }),
    () => copy.splice(at, 1, { ...member, prefix: "../.." }),
    () => copy.splice(at, 1, { ...member, link: "/etc/passwd" }),
    () => copy.splice(at, 1, { ...member, size: random.int(2 ** 31) }),
    () => copy.splice(at, 1, { ...member, rawSize: random.bytes(12) }),
    () => copy.splice(at, 1, { ...member, body: mutateBytes(random, member.body ?? body) }),
  ];
  random.pick(changes)();
  return copy;
}

export const fuzzManifest: FuzzTarget = async (random, arena) => {
  const { manifest, sqlite } = arena.sound;
  let value: unknown = manifest;
  for (let left = random.int(3); left > 0; left--) value = mutateJson(random, value);
  let text = JSON.stringify(value) ?? "null";
  if (random.chance(0.3)) text = mutateText(random, text);
  const json = { name: "delta.json", body: Buffer.from(text) };
  const received = await receive(arena, tarOf(json, sqliteMember(sqlite)), manifest);
  if (typeof received === "string") return received;
  expectSameContent(unstampedOf(await arena.workbench.readDelta(received)), SAMPLE);
  return "sound";
};

/** The attacker knows the format: counts, sums and hashes are true of whatever the file holds. */
export const fuzzSqlite: FuzzTarget = async (random, arena) => {
  const { sqlite, manifest } = arena.sound;
  let file = withSql(sqlite, (db) => {
    for (let left = random.int(4); left > 0; left--) mutateRows(random, db);
  });
  const isRaw = random.chance(0.4);
  if (isRaw) for (let left = 1 + random.int(2); left > 0; left--) file = mutatePages(random, file);
  const honest = honestManifest(manifestFor(manifest, file), file);
  const received = await receive(arena, tarOf(jsonMember(honest), sqliteMember(file)), honest);
  if (typeof received === "string") return received;
  const content = await arena.workbench.readDelta(received);
  expectSameContent(unstampedOf(content), secondReading(file));
  const merged = await arena.workbench.merge(arena.owner, [received], {
    firstSequence: received.firstSequence,
    lastSequence: received.lastSequence,
    rule: { drop: "nothing" },
  });
  insist(canonicalJson(merged.rows) === canonicalJson(received.rows), "the merge counts otherwise");
  return "sound";
};

const COLUMNS = [
  "operation",
  "id",
  "parent",
  "sequence",
  "va",
  "tb",
  "document",
  "metadata",
  "embedding",
];
const STATEMENTS = [
  "CREATE VIEW v AS SELECT * FROM rows",
  "CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM rows; END",
  "CREATE TABLE more (x)",
  "DROP INDEX rows_parent",
  "DELETE FROM replaced",
  "DELETE FROM rows WHERE operation = 'put'",
  "UPDATE meta SET value = 'x' WHERE key = 'shard'",
  "REINDEX",
  "VACUUM",
  "ANALYZE",
  "PRAGMA user_version = 3",
  "PRAGMA auto_vacuum = FULL; VACUUM",
];

/** What any SQLite can write into a file of ours. */
export function mutateRows(random: SeededRandom, db: SqliteDatabase): void {
  try {
    const dice = random.fraction();
    if (dice < 0.15) db.exec(random.pick(STATEMENTS));
    else if (dice < 0.25) insertFalseText(random, db);
    else if (dice < 0.6) insertRow(db, oddRow(random));
    else if (dice < 0.7) {
      const parent = sqlValue(random);
      db.prepare("INSERT INTO replaced VALUES (?, 0)").run(parent);
    } else {
      const column = random.pick(COLUMNS);
      db.prepare(`UPDATE rows SET ${column} = ? WHERE operation = ?`).run(
        sqlValue(random),
        random.pick(["put", "patch", "delete"]),
      );
    }
  } catch {
    // What SQLite itself refuses to write, nobody can send.
  }
}

/** Texts that are no UTF-8, under digests of what JavaScript takes them for. */
function insertFalseText(random: SeededRandom, db: SqliteDatabase): void {
  const column = random.pick(["id", "document", "metadata"]);
  const text = "false \ufffd text";
  const more = column === "metadata" ? { metadata: { k: text } } : { [column]: text };
  insertRow(db, { ...oddRow(random), operation: "put", ...more } as Row);
  const raw = (name: string) => `CAST(unhex(replace(hex(${name}), 'EFBFBD', 'FF')) AS TEXT)`;
  if (random.chance(0.8)) db.exec(`UPDATE rows SET ${column} = ${raw(column)}`);
  db.prepare("INSERT INTO replaced VALUES (?, 0)").run(text);
  if (random.chance(0.3)) db.exec(`UPDATE replaced SET parent = ${raw("parent")}`);
}

function sqlValue(random: SeededRandom): unknown {
  const value = oddValue(random);
  if (random.chance(0.3)) return Buffer.from(random.bytes(random.int(20)));
  if (typeof value === "string" || typeof value === "number") return value;
  return value === null ? null : JSON.stringify(value);
}

/** A row with right digests; most are sound. */
function oddRow(random: SeededRandom): Row {
  const text = (name: string) =>
    random.chance(0.8) ? `${name}-${random.int(50)}` : oddValue(random);
  const metadata = random.chance(0.7)
    ? { k: random.int(9) }
    : { [String(oddValue(random)).slice(0, 99)]: oddValue(random) };
  const row = {
    operation: random.pick(["put", "put", "patch", "delete"]),
    id: text("id"),
    parent: random.chance(0.5) ? null : text("parent"),
    embedding: encodeEmbedding(
      random.chance(0.8) ? [1, random.int(9)] : [Number.NaN, 0, 1e39].slice(random.int(3)),
    ),
    document: random.chance(0.5) ? null : text("document"),
    metadata,
    sequence: 0,
  };
  return row as unknown as Row;
}

const PAGE = 16_384;

/** What any editor can write into a file of ours. */
export function mutatePages(random: SeededRandom, file: Buffer): Buffer {
  const copy = Buffer.from(file);
  const pages = Math.max(1, Math.floor(copy.length / PAGE));
  const [to, from] = [random.int(pages) * PAGE, random.int(pages) * PAGE];
  switch (random.int(4)) {
    case 0:
      copy.copy(copy, to, from, from + PAGE);
      return copy;
    case 1:
      copy[random.int(100)] = random.int(256);
      return copy;
    case 2:
      copy.writeUInt16BE(random.int(65_536), to + (to === 0 ? 100 : 0) + random.int(8));
      return copy;
    default:
      return mutateBytes(random, copy);
  }
}

/** Counts and sums as the file's own columns have them; the old ones where it cannot be read. */
function honestManifest(manifest: DeltaManifest, file: Uint8Array): DeltaManifest {
  try {
    return withFile(file, (db) => {
      const rows = { put: 0, patch: 0, delete: 0 };
      const sums: Record<"v" | "t", Lanes> = { v: ZERO_LANES, t: ZERO_LANES };
      for (const row of db.prepare("SELECT operation, va, vb, ta, tb FROM rows").iterate()) {
        rows[row.operation as keyof typeof rows] += 1;
        sums.t = addLanes(sums.t, lanesOf(halves(row.ta, row.tb)));
        if (row.va !== null) sums.v = addLanes(sums.v, lanesOf(halves(row.va, row.vb)));
      }
      const replaced = db.prepare("SELECT COUNT(*) AS n FROM replaced").get()?.n;
      const hex = { v: lanesToHex(sums.v), t: lanesToHex(sums.t) };
      return { ...manifest, rows, replaced: Number(replaced), sums: hex };
    });
  } catch {
    return manifest;
  }
}

function halves(high: unknown, low: unknown): Buffer {
  const digest = Buffer.alloc(16);
  digest.writeBigInt64BE(high as bigint, 0);
  digest.writeBigInt64BE(low as bigint, 8);
  return digest;
}

const TEXTS = ["id", "parent", "document", "metadata"];
const RAW = TEXTS.map((name) => `CAST(${name} AS BLOB) AS raw_${name}`).join(", ");

function isSame(text: unknown, raw: unknown): boolean {
  return text === null || Buffer.from(String(text)).equals(Buffer.from(raw as Uint8Array));
}

/** What the other build of SQLite reads, decoded here and not by the product. */
function secondReading(file: Uint8Array) {
  return withFile(file, (db) => {
    const rows = new Map<string, Row>();
    for (const row of db.prepare(`SELECT *, ${RAW} FROM rows`).iterate()) {
      const { operation, id, parent, document, embedding } = row;
      for (const name of TEXTS)
        insist(isSame(row[name], row[`raw_${name}`]), `${name} is no UTF-8`);
      const common = { operation, id, sequence: 0 };
      const metadata = row.metadata === null ? undefined : JSON.parse(String(row.metadata));
      const more = operation === "delete" ? {} : { document, metadata };
      const vector = operation === "put" ? { parent, embedding } : {};
      rows.set(String(id), { ...common, ...more, ...vector } as unknown as Row);
    }
    const parents = db.prepare("SELECT parent, CAST(parent AS BLOB) AS raw FROM replaced").all();
    for (const { parent, raw } of parents) insist(isSame(parent, raw), "a parent is no UTF-8");
    return { rows, replaced: new Map(parents.map(({ parent }) => [String(parent), 0])) };
  });
}

function withFile<T>(file: Uint8Array, read: (db: DatabaseSync) => T): T {
  const path = join(tmpdir(), `second-${process.pid}.sqlite`);
  writeFileSync(path, file);
  try {
    const db = new DatabaseSync(path, { readOnly: true, readBigInts: true });
    try {
      return read(db);
    } finally {
      db.close();
    }
  } finally {
    rmSync(path, { force: true });
  }
}
