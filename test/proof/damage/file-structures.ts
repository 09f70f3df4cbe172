/** Where the structures of a file lie, so that a bit can be flipped in each, and a cut made at each. */
import Database from "better-sqlite3";
import { SqliteFile } from "./sqlite-layout.ts";

export interface FileStructures {
  /** Offsets of bytes, by the structure that they belong to. */
  readonly places: readonly (readonly [structure: string, offset: number])[];
  /** Lengths to cut the file to. */
  readonly cuts: readonly (readonly [boundary: string, length: number])[];
  /** A page, block or line, to be overwritten with zeros. */
  readonly pages: readonly (readonly [page: string, from: number, to: number])[];
}

export type FileForm = "json" | "tar" | "sqlite" | "vectors" | "journal";

export function structuresOf(form: FileForm, bytes: Uint8Array): FileStructures {
  const { places, cuts, pages } = ANALYSERS[form](Buffer.from(bytes));
  const ends = [
    ["nothing", 0],
    ["one byte", 1],
    ["half", bytes.length >> 1],
    ["all but the last byte", bytes.length - 1],
  ] as const;
  return { places, cuts: [...ends, ...cuts], pages };
}

const ANALYSERS: Readonly<Record<FileForm, (bytes: Buffer) => FileStructures>> = {
  json: jsonStructures,
  tar: tarStructures,
  sqlite: sqliteStructures,
  vectors: vectorStructures,
  journal: journalStructures,
};

function jsonStructures(bytes: Buffer, from = 0, to = bytes.length): FileStructures {
  const text = bytes.toString("latin1", from, to);
  const patterns: readonly (readonly [string, RegExp])[] = [
    ["opening brace", /\{/],
    ["JSON key", /"([A-Za-z]{2,})":/],
    ["JSON number", /[:[](\d+)[,}\]]/],
    ["JSON string", /":"([^"]+)"/],
    ["hash", /"([0-9a-f]{64})"/],
    ["colon", /:/],
    ["quote", /"/],
  ];
  const places = patterns.flatMap(([structure, pattern]) => {
    const found = pattern.exec(text);
    if (found === null) return [];
    const inside = found[1] === undefined ? 0 : found[0].indexOf(found[1]);
    return [[structure, from + found.index + inside] as const];
  });
  const comma = text.indexOf(",");
  return {
    places: [...places, ["closing brace", to - 1]],
    cuts: comma < 0 ? [] : [["first member", from + comma]],
    pages: [
      ["first half", from, from + (text.length >> 1)],
      ["second half", from + (text.length >> 1), to],
    ],
  };
}

const TAR_BLOCK = 512;
const TAR_FIELDS: readonly (readonly [string, number])[] = [
  ["name", 0],
  ["mode", 100],
  ["size", 124],
  ["mtime", 136],
  ["checksum", 148],
  ["type", 156],
  ["magic", 257],
  ["unused", 500],
];

function tarStructures(bytes: Buffer): FileStructures {
  const jsonBytes = Number.parseInt(bytes.toString("latin1", 124, 135), 8);
  const jsonEnd = TAR_BLOCK + jsonBytes;
  const second = Math.ceil(jsonEnd / TAR_BLOCK) * TAR_BLOCK;
  const sqliteBytes = Number.parseInt(bytes.toString("latin1", second + 124, second + 135), 8);
  const sqlite = second + TAR_BLOCK;
  const end = sqlite + sqliteBytes;
  const json = jsonStructures(bytes, TAR_BLOCK, jsonEnd);
  const inner = sqliteStructures(bytes.subarray(sqlite, end));
  const moved = inner.places.map(([structure, at]) => [structure, sqlite + at] as const);
  const fields = [0, second].flatMap((at) =>
    TAR_FIELDS.map(([field, offset]) => [`tar header: ${field}`, at + offset] as const),
  );
  return {
    places: [
      ...fields,
      ...json.places,
      ["tar padding", jsonEnd + 1],
      ...moved,
      ["end of the tar", end + 1],
      ["end of the tar", bytes.length - 1],
    ],
    cuts: [
      ["header", TAR_BLOCK],
      ["member", jsonEnd],
      ["padding", second],
      ["second header", sqlite],
      ...inner.cuts.map(([boundary, length]) => [boundary, sqlite + length] as const),
      ["member", end],
      ["end block", end + TAR_BLOCK],
    ],
    pages: [
      ["tar header", 0, TAR_BLOCK],
      ["tar header", second, sqlite],
      ...inner.pages.map(([page, from, to]) => [page, sqlite + from, sqlite + to] as const),
    ],
  };
}

function sqliteStructures(bytes: Buffer): FileStructures {
  const file = new SqliteFile(bytes);
  const size = file.pageBytes;
  const numbers = Array.from({ length: bytes.length / size }, (_, index) => index);
  return {
    places: [
      ...file.headerPlaces(),
      ...numbers.flatMap((number) => file.pagePlaces(number)),
      ...columnPlaces(bytes),
    ],
    cuts: [["header", 100], ...numbers.slice(1).map((n) => ["page", n * size] as const)],
    pages: numbers.map((n) => [`page ${n + 1}`, n * size, (n + 1) * size] as const),
  };
}

/** Where the columns of a put lie, found by what they hold. */
function columnPlaces(bytes: Buffer): readonly (readonly [string, number])[] {
  const copy = Buffer.from(bytes);
  // Not in WAL mode, in which no database opens in memory.
  copy.fill(1, 18, 20);
  const db = new Database(copy);
  try {
    const isSegment = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'rows'").get();
    if (isSegment === undefined) return [];
    const select =
      "SELECT embedding, ta, vb, document, metadata, id FROM rows WHERE operation = 'put'";
    const row = db.prepare(select).safeIntegers().get() as Readonly<Record<string, unknown>>;
    return Object.entries(row).flatMap(([column, value]) => {
      const at = value === null ? -1 : bytes.indexOf(encoded(value));
      return at < 0 ? [] : [[COLUMN_NAMES[column] ?? column, at + 1] as const];
    });
  } finally {
    db.close();
  }
}

const COLUMN_NAMES: Readonly<Record<string, string>> = {
  embedding: "vector blob",
  ta: "text digest column",
  vb: "vector digest column",
};

function encoded(value: unknown): Buffer {
  if (typeof value !== "bigint") return Buffer.from(value as string);
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

const VECTOR_HEADER = 4096;

function vectorStructures(bytes: Buffer): FileStructures {
  const json = jsonStructures(bytes, 0, bytes.indexOf(0));
  const payload = bytes.length - VECTOR_HEADER;
  return {
    places: [
      ...json.places,
      ["header padding", bytes.indexOf(0) + 10],
      ["vector", VECTOR_HEADER],
      ["vector", VECTOR_HEADER + (payload >> 2)],
      ["rowid", bytes.length - 1],
    ],
    cuts: [
      ["header", VECTOR_HEADER],
      ["vectors", bytes.length - 8],
    ],
    pages: [
      ["header", 0, VECTOR_HEADER],
      ["vectors", VECTOR_HEADER, 2 * VECTOR_HEADER],
    ],
  };
}

function journalStructures(bytes: Buffer): FileStructures {
  const lines: number[] = [0];
  for (let at = bytes.indexOf("\n"); at >= 0; at = bytes.indexOf("\n", at + 1)) lines.push(at + 1);
  const starts = lines.filter((at) => at < bytes.length);
  return {
    places: starts.flatMap((at) => [
      ["line hash", at],
      ["line JSON", at + 20],
      ["line end", bytes.indexOf("\n", at)],
    ]),
    cuts: starts.slice(1).map((at) => ["line", at] as const),
    pages: starts.map((at) => ["line", at, bytes.indexOf("\n", at)] as const),
  };
}
