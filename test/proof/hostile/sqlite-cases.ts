/** Hostile SQLite files in well-formed bundles: schema, header, values. */
import { encodeEmbedding, type Row } from "@silt/core";
import type { BundleCase } from "./bundle-cases.ts";
import { bundleAround, insertRow, type SqliteDatabase, withSql } from "./forge-delta.ts";

type Damage = (db: SqliteDatabase) => void;

const damaged = (name: string, says: BundleCase["says"], damage: Damage): BundleCase => ({
  name: `SQLite: ${name}`,
  says,
  make: (sound) => bundleAround(sound, withSql(sound.sqlite, damage)),
});
const sql = (name: string, says: BundleCase["says"], text: string): BundleCase =>
  damaged(name, says, (db) => db.exec(text));
const bytes = (
  name: string,
  says: BundleCase["says"],
  change: (file: Buffer) => Buffer,
): BundleCase => ({
  name: `SQLite: ${name}`,
  says,
  make: (sound) => bundleAround(sound, change(Buffer.from(sound.sqlite))),
});
/** The schema's own table written as no statement would. */
const forgedSchema = (name: string, text: string): BundleCase =>
  damaged(`schema row, ${name}`, /schema is not|malformed|integrity_check/, (db) => {
    db.pragma("writable_schema = ON");
    db.exec(text);
  });

const NOT_OURS = /schema is not that of a Silt file/;
const EVIL = "evil'); DROP TABLE rows; --";

const SCHEMAS: readonly BundleCase[] = [
  sql("trigger", NOT_OURS, "CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM rows; END"),
  sql(
    "trigger that attaches",
    NOT_OURS,
    "CREATE TRIGGER t AFTER DELETE ON rows BEGIN SELECT load_extension('/tmp/evil.so'); END",
  ),
  sql("view", NOT_OURS, "CREATE VIEW v AS SELECT * FROM rows"),
  sql(
    "a view without end in the place of meta",
    NOT_OURS,
    `DROP TABLE meta; CREATE VIEW meta AS WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
     SELECT x AS key, x AS value FROM n WHERE x < 0`,
  ),
  sql(
    "generated column",
    NOT_OURS,
    "ALTER TABLE rows ADD COLUMN g AS (hex(zeroblob(length(id) * 1000000)))",
  ),
  sql("full-text table", NOT_OURS, "CREATE VIRTUAL TABLE f USING fts5 (x)"),
  sql("R-tree", NOT_OURS, "CREATE VIRTUAL TABLE r USING rtree (id, a, b)"),
  sql("table of the pages", NOT_OURS, "CREATE VIRTUAL TABLE d USING dbstat"),
  sql("expression index", NOT_OURS, "CREATE INDEX e ON rows (length(document))"),
  sql("another partial index", NOT_OURS, "CREATE INDEX e ON rows (id) WHERE operation = 'put'"),
  sql("SQL as the name of a table", NOT_OURS, `CREATE TABLE "${EVIL}" (x)`),
  sql("SQL as the name of a column", NOT_OURS, `ALTER TABLE meta ADD COLUMN "${EVIL}"`),
  sql(
    "CHECK with a function",
    NOT_OURS,
    "DROP TABLE replaced; CREATE TABLE replaced (parent TEXT PRIMARY KEY CHECK (length(hex(parent))), sequence INTEGER NOT NULL) WITHOUT ROWID",
  ),
  sql(
    "DEFAULT with a function",
    NOT_OURS,
    "DROP TABLE meta; CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT DEFAULT (hex(randomblob(9)))) WITHOUT ROWID",
  ),
  sql(
    "rows WITHOUT ROWID",
    NOT_OURS,
    "ALTER TABLE rows RENAME TO r; CREATE TABLE rows (row INTEGER PRIMARY KEY, operation, id) WITHOUT ROWID",
  ),
  sql(
    "another collation",
    NOT_OURS,
    "DROP INDEX rows_id; CREATE UNIQUE INDEX rows_id ON rows (id COLLATE NOCASE)",
  ),
  sql("STRICT", NOT_OURS, "DROP TABLE meta; CREATE TABLE meta (key TEXT, value TEXT) STRICT"),
  sql("statistics", NOT_OURS, "ANALYZE"),
  sql("no rows table", NOT_OURS, "DROP TABLE rows"),
  damaged("more tables than its first page has room for", /schema is larger/, (db) => {
    db.exec("BEGIN");
    for (let table = 0; table < 500; table++) db.exec(`CREATE TABLE t${table} (x)`);
    db.exec("COMMIT");
  }),
  sql("a statement of 900 KB", /a statement of/, `CREATE TABLE t (x /* ${"x".repeat(900_000)} */)`),
  forgedSchema("another name", "UPDATE sqlite_schema SET name = 'x' WHERE name = 'meta'"),
  forgedSchema("another kind", "UPDATE sqlite_schema SET type = 'view' WHERE name = 'meta'"),
  forgedSchema(
    "the same statement twice",
    "INSERT INTO sqlite_schema SELECT * FROM sqlite_schema WHERE name = 'meta'",
  ),
  forgedSchema(
    "a statement that only begins as ours",
    "UPDATE sqlite_schema SET sql = sql || ' ' WHERE name = 'meta'",
  ),
  forgedSchema(
    "a statement as a blob",
    "UPDATE sqlite_schema SET sql = CAST(sql AS BLOB) WHERE name = 'meta'",
  ),
  forgedSchema("no statement", "UPDATE sqlite_schema SET sql = NULL WHERE name = 'rows_parent'"),
  forgedSchema("root page 1", "UPDATE sqlite_schema SET rootpage = 1 WHERE name = 'rows'"),
  forgedSchema("root page 0", "UPDATE sqlite_schema SET rootpage = 0 WHERE name = 'rows'"),
  forgedSchema(
    "a root page beyond the end",
    "UPDATE sqlite_schema SET rootpage = 2000000000 WHERE name = 'rows'",
  ),
  forgedSchema(
    "the root page of another table",
    "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'meta') WHERE name = 'replaced'",
  ),
  forgedSchema(
    "the root page of an index",
    "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'rows_id') WHERE name = 'rows'",
  ),
];

const uint = (at: number, value: number) => (file: Buffer) => {
  file.writeUInt32BE(value, at);
  return file;
};

const HEADERS: readonly BundleCase[] = [
  damaged("another application id", /application id is 1/, (db) => db.pragma("application_id = 1")),
  damaged("another user version", /schema version is 7/, (db) => db.pragma("user_version = 7")),
  damaged("WAL mode", /in WAL mode/, (db) => db.pragma("journal_mode = WAL")),
  damaged("pages of 512 bytes", /pages have 512 bytes/, (db) => {
    db.pragma("page_size = 512");
    db.exec("VACUUM");
  }),
  damaged("pages of 64 KiB", /pages have 65536 bytes/, (db) => {
    db.pragma("page_size = 65536");
    db.exec("VACUUM");
  }),
  damaged("auto_vacuum", /no auto_vacuum/, (db) => {
    db.pragma("auto_vacuum = INCREMENTAL");
    db.exec("VACUUM");
  }),
  bytes("reserved bytes", /reserves bytes/, (file) => {
    file[20] = 64;
    return file;
  }),
  bytes("UTF-16", /not UTF-8/, uint(56, 2)),
  bytes("a journal beside it that is not there", "accepted", (file) => file),
  bytes("a schema format to come", /unsupported file format|malformed/, uint(44, 9)),
  bytes("a free list that is a circle", /integrity_check/, (file) => {
    file.writeUInt32BE(2, 32);
    file.writeUInt32BE(1_000, 36);
    return file;
  }),
  bytes("a page count without end", /malformed|integrity_check/, uint(28, 0x7fffffff)),
  bytes("a page of zeros", /malformed|integrity_check/, (file) => file.fill(0, 32_768, 49_152)),
  bytes("rubbish at its end", "accepted", (file) =>
    Buffer.concat([file, Buffer.alloc(16_384, 0xee)]),
  ),
  bytes("half of it", /malformed|integrity_check/, (file) => file.subarray(0, file.length / 2)),
  bytes("text", /no SQLite file/, () => Buffer.from("not SQLite ".repeat(2_000))),
  bytes("a script", /no SQLite file/, () => Buffer.from("#!/bin/sh\ntouch /tmp/evil\n")),
];

const row = (name: string, says: BundleCase["says"], change: string): BundleCase =>
  sql(`row, ${name}`, says, `UPDATE rows SET ${change} WHERE operation = 'put'`);
const floats = (...values: number[]) =>
  `x'${Buffer.from(new Float32Array(values).buffer).toString("hex")}'`;

const VALUES: readonly BundleCase[] = [
  row("text for a vector", /embedding is no BLOB/, "embedding = 'abcdefgh'"),
  row("a number for a vector", /embedding is no BLOB/, "embedding = 7"),
  row("no vector", /embedding is no BLOB/, "embedding = NULL"),
  row("NaN", /"embedding"\[0\] is NaN/, `embedding = ${floats(Number.NaN, 1)}`),
  row("infinity", /is -Infinity/, `embedding = ${floats(1, Number.NEGATIVE_INFINITY)}`),
  row("a zero vector", /zero vector/, `embedding = ${floats(0, -0)}`),
  row("another dimension", /12 bytes, expected 8/, `embedding = ${floats(1, 2, 3)}`),
  row("a vector of a megabyte", /"embedding" is over/, "embedding = zeroblob(1000000)"),
  row("another vector", /vector digest does not match/, `embedding = ${floats(2, 1)}`),
  row("another document", /text digest does not match/, "document = 'three teas'"),
  row("another parent", /vector digest does not match/, "parent = 'q'"),
  row("digests that are numbers with a point", /digest does not match/, "ta = 1.5, va = 1e300"),
  row("digests that are texts", /digest does not match/, "ta = 'x'"),
  row("no digests", /NOT NULL|digest does not match/, "va = NULL"),
  row("a document as bytes", /"document" is not a string/, "document = x'68656c6c6f'"),
  row("a document with a zero byte", /zero byte/, "document = 'a' || char(0) || 'b'"),
  row("a document of 2 MB", /"document" is over/, "document = hex(zeroblob(1000000))"),
  row("a document in Latin-1", /not UTF-8/, "document = CAST(x'e4' AS TEXT)"),
  row("half a surrogate pair", /not UTF-8/, "document = CAST(x'eda080' AS TEXT)"),
  row("overlong UTF-8", /not UTF-8/, "document = CAST(x'c0af' AS TEXT)"),
  row("an id as bytes", /"id" is not a string/, "id = x'61'"),
  row("an id with a zero byte", /zero byte/, "id = 'a' || char(0)"),
  row(
    "an id of 1,025 bytes",
    /"id" is over 1024 bytes/,
    "id = substr(hex(zeroblob(600)), 1, 1025)",
  ),
  row("no id", /"id" is empty/, "id = ''"),
  row("a parent without a name", /"parent" is empty/, "parent = ''"),
  row("a parent that is a number", /digest|not a string/, "parent = 7"),
  row("an operation to come", /"operation" is over|unknown operation/, "operation = 'upsert'"),
  row("an operation as bytes", /unknown operation/, "operation = x'707574'"),
  row("a delete with content", /a delete has/, "operation = 'delete'"),
  row("a patch with a vector", /a patch has/, "operation = 'patch'"),
  row("a sequence number", /sequence is 5/, "sequence = 5"),
  row("a sequence number that is text", /sequence is x/, "sequence = 'x'"),
  row(
    "a rowid at the end of all",
    /row number is 9223372036854775807/,
    "row = 9223372036854775807",
  ),
  row("a negative rowid", /row number is -9223372036854775808/, "row = -9223372036854775808"),
  row("metadata that are no JSON", /no JSON/, "metadata = '{'"),
  row("metadata as bytes", /metadata is no text/, "metadata = x'7b7d'"),
  row("metadata as JSONB", /metadata is no text/, "metadata = jsonb(metadata)"),
  row("metadata that are a list", /not an object/, "metadata = '[]'"),
  row("metadata with blanks", /canonical|digest/, "metadata = '{ }'"),
  row("metadata with a key twice", /canonical|digest/, `metadata = '{"a":1,"a":2}'`),
  row("metadata with null", /is null/, `metadata = '{"a":null}'`),
  row("metadata with a number without end", /not a finite number/, `metadata = '{"a":1e999}'`),
  row(
    "metadata 50,000 deep",
    /not flat/,
    `metadata = '{"a":${"[".repeat(50_000)}${"]".repeat(50_000)}}'`,
  ),
  row(
    "metadata over all bounds",
    /"metadata" is over 16777216 bytes/,
    `metadata = '{"a":"' || hex(zeroblob(9000000)) || '"}'`,
  ),
  sql(
    "two rows of one id",
    /schema|UNIQUE|integrity_check/,
    "DROP INDEX rows_id; INSERT INTO rows SELECT row + 100, operation, id, parent, sequence, va, vb, ta, tb, document, metadata, embedding FROM rows",
  ),
];

const PARENTS: readonly BundleCase[] = [
  sql("replaced, no name", /"replaced parent" is empty/, "UPDATE replaced SET parent = ''"),
  sql("replaced, bytes", /"replaced parent" is not a string/, "UPDATE replaced SET parent = x'70'"),
  sql("replaced, long", /"parent" is over 1024/, "UPDATE replaced SET parent = hex(zeroblob(999))"),
  sql("replaced, zero byte", /zero byte/, "UPDATE replaced SET parent = 'p' || char(0)"),
  sql("replaced, no UTF-8", /is not UTF-8/, "UPDATE replaced SET parent = CAST(x'ff' AS TEXT)"),
  sql("replaced, a sequence", /has sequence 9/, "UPDATE replaced SET sequence = 9"),
  sql("replaced, one more", /manifest counts/, "INSERT INTO replaced VALUES ('q', 0)"),
];

const meta = (name: string, says: RegExp, set: string): BundleCase =>
  sql(`meta, ${name}`, says, `UPDATE meta SET ${set}`);

const METAS: readonly BundleCase[] = [
  meta("another owner", /meta collection is words/, "value = 'words' WHERE key = 'collection'"),
  meta("another run", /meta runId is x/, "value = 'x' WHERE key = 'runId'"),
  meta("a segment", /meta kind is segment/, "value = 'segment' WHERE key = 'kind'"),
  meta("an unknown kind", /meta kind is evil, expected/, "value = 'evil' WHERE key = 'kind'"),
  meta("requirements", /meta requires is/, `value = '["x"]' WHERE key = 'requires'`),
  meta("prototype keys", /meta table is not/, "key = '__proto__' WHERE key = 'shard'"),
  meta("a value of a megabyte", /meta table/, "value = hex(zeroblob(500000)) WHERE key = 'shard'"),
  meta("bytes", /meta table is not/, "value = x'00' WHERE key = 'shard'"),
  sql("meta, a key more", /meta table is not/, "INSERT INTO meta VALUES ('constructor', 'x')"),
];

const PUT: Row = {
  operation: "put",
  id: "z",
  parent: null,
  embedding: encodeEmbedding([1, 2]),
  document: null,
  metadata: {},
  sequence: 0,
};
/** One row more than counted, its digests right: what is wrong is the row, or at least the count. */
const inserted = (name: string, says: RegExp, change: object): BundleCase =>
  damaged(`honest digests, ${name}`, says, (db) => insertRow(db, { ...PUT, ...change } as Row));

const HONEST: readonly BundleCase[] = [
  inserted("an id with a zero byte", /zero byte/, { id: "z\0" }),
  inserted("deep metadata", /not flat/, { metadata: { a: { b: { c: 1 } } } }),
  inserted("metadata with null", /is null/, { metadata: { a: null } }),
  inserted("a vector of another dimension", /4 bytes, expected 8/, {
    embedding: encodeEmbedding([1]),
  }),
  inserted("a row that nobody counted", /manifest counts/, {}),
];

export const SQLITE_CASES: readonly BundleCase[] = [
  ...SCHEMAS,
  ...HEADERS,
  ...VALUES,
  ...PARENTS,
  ...METAS,
  ...HONEST,
];
