/** What no value of a sound file may be: longer than its column allows, or text that is no UTF-8. */
import { DIMENSION_MAX, DOCUMENT_BYTES_MAX, ID_BYTES_MAX } from "@silt/core";
import type { SqliteDatabase } from "./sqlite-file.ts";

/** What the patches of one record may add up to within one delta; each brings at most 64 KiB. */
const DELTA_METADATA_BYTES_MAX = 16 * 1024 * 1024;
/** The same over all deltas: what a string of JavaScript can hold, with room for its escapes. */
const METADATA_BYTES_MAX = 256 * 1024 * 1024;
/** A signed 64-bit number as text. */
const NUMBER_BYTES_MAX = 20;

const ROW_BYTES_MAX: Readonly<Record<string, number>> = {
  operation: "replace".length,
  id: ID_BYTES_MAX,
  parent: ID_BYTES_MAX,
  sequence: NUMBER_BYTES_MAX,
  va: NUMBER_BYTES_MAX,
  vb: NUMBER_BYTES_MAX,
  ta: NUMBER_BYTES_MAX,
  tb: NUMBER_BYTES_MAX,
  document: DOCUMENT_BYTES_MAX,
  embedding: DIMENSION_MAX * Float32Array.BYTES_PER_ELEMENT,
};
const REPLACED_BYTES_MAX = { parent: ID_BYTES_MAX, sequence: NUMBER_BYTES_MAX };

/**
 * Names a value that is too long to be looked at. SQLite tells lengths without reading the values, so
 * that memory stays bounded whatever a file holds; undefined when all may be read.
 */
export function oversizeProblem(db: SqliteDatabase, kind: string): string | undefined {
  const metadata = kind === "delta" ? DELTA_METADATA_BYTES_MAX : METADATA_BYTES_MAX;
  return (
    oversizeIn(db, "rows", { ...ROW_BYTES_MAX, metadata }) ??
    oversizeIn(db, "replaced", REPLACED_BYTES_MAX, "replaced parent: ")
  );
}

function oversizeIn(
  db: SqliteDatabase,
  table: string,
  bytesMax: Readonly<Record<string, number>>,
  what = "",
): string | undefined {
  const columns = Object.keys(bytesMax);
  const lengths = columns.map((name) => `octet_length(${name}) AS ${name}`).join(", ");
  const over = columns.map((name) => `octet_length(${name}) > ${bytesMax[name]}`).join(" OR ");
  const found = db
    .prepare<[], Record<string, number>>(`SELECT ${lengths} FROM ${table} WHERE ${over} LIMIT 1`)
    .get();
  const name = columns.find((column) => (found?.[column] ?? 0) > (bytesMax[column] ?? 0));
  if (name === undefined) return undefined;
  return `${what}"${name}" is over ${bytesMax[name]} bytes, it has ${found?.[name]}`;
}

const REPLACEMENT = "\ufffd";

/**
 * True when a text is what the file holds byte for byte. Bytes that are no UTF-8 come into JavaScript as
 * U+FFFD: different texts would look the same, and be found under none of their names. `raw` is asked
 * only where that may be so.
 */
export function isStoredText(text: unknown, raw: () => unknown): boolean {
  if (typeof text !== "string" || !text.includes(REPLACEMENT)) return true;
  const bytes = raw();
  return bytes instanceof Uint8Array && Buffer.from(text).equals(bytes);
}
