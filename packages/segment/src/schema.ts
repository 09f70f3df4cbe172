/** The layout of every SQLite file that Silt writes: deltas, segments and exports. */

/** "SILT" in ASCII. */
export const APPLICATION_ID = 0x53494c54;
export const SCHEMA_VERSION = 1;
/** D = 512 on 4 KiB pages wastes most of the file; 16 KiB holds several rows a page. */
export const PAGE_BYTES = 16_384;

/**
 * One fat table. `va`, `vb` and `ta`, `tb` are the halves of the two 128-bit digests as signed
 * 64-bit integers, big-endian, so that SQL can sum their 32-bit lanes. The embedding comes last:
 * reading the other columns does not touch it.
 */
const TABLES = [
  `CREATE TABLE rows (
  row INTEGER PRIMARY KEY,
  operation TEXT NOT NULL,
  id TEXT NOT NULL,
  parent TEXT,
  sequence INTEGER NOT NULL,
  va INTEGER,
  vb INTEGER,
  ta INTEGER NOT NULL,
  tb INTEGER NOT NULL,
  document TEXT,
  metadata TEXT,
  embedding BLOB
)`,
  "CREATE TABLE replaced (parent TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID",
  "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
];
const INDEXES = [
  "CREATE UNIQUE INDEX rows_id ON rows (id)",
  "CREATE INDEX rows_parent ON rows (parent) WHERE parent IS NOT NULL",
];

export const CREATE_TABLES = `${TABLES.join(";\n")};`;
export const CREATE_INDEXES = `${INDEXES.join(";\n")};`;

/** The only statements that `sqlite_schema` of a sound file may hold. */
export const SCHEMA_STATEMENTS: readonly string[] = [...TABLES, ...INDEXES].sort();

export const ROW_COLUMNS =
  "operation, id, parent, sequence, va, vb, ta, tb, document, metadata, embedding";

/** What the `meta` table says about a file; values are text. */
export interface SegmentMeta {
  readonly kind: "delta" | "segment" | "export";
  readonly format: string;
  readonly requires: string;
  readonly collection: string;
  readonly storeId: string;
  readonly shard: string;
  /** Canonical JSON of the collection's vector fields. */
  readonly vectors: string;
  /** The range of runs; "0" in a delta, which cannot know it. */
  readonly firstSequence: string;
  readonly lastSequence: string;
  /** Run id of a delta; empty elsewhere. */
  readonly runId: string;
}

export const META_KEYS = [
  "kind",
  "format",
  "requires",
  "collection",
  "storeId",
  "shard",
  "vectors",
  "firstSequence",
  "lastSequence",
  "runId",
] as const satisfies readonly (keyof SegmentMeta)[];

/** SQL for the sums of two digest halves, lane by lane, modulo 2^32. Columns are prefixed by `alias`. */
export function sumLanesSql(alias: string, high: string, low: string): string {
  const lane = (expression: string) => `COALESCE(SUM(${expression}), 0) % 4294967296`;
  return [
    lane(`(${alias}.${high} >> 32) & 4294967295`),
    lane(`${alias}.${high} & 4294967295`),
    lane(`(${alias}.${low} >> 32) & 4294967295`),
    lane(`${alias}.${low} & 4294967295`),
  ].join(", ");
}
