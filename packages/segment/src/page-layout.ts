/**
 * The first page of a SQLite file, judged before SQLite opens it. SQLite parses every statement of a
 * schema at the first query: a million tables would take a gigabyte, whatever is asked.
 */
import { PAGE_BYTES } from "./schema.ts";

const PAGE_SIZE_AT = 16;
const RESERVED_AT = 20;
const LARGEST_ROOT_AT = 52;
const TREE_AT = 100;
const CELLS_AT = TREE_AT + 8;
const TABLE_LEAF = 0x0d;
/** Ours has five; stray ones are left to the comparison of statements, which names them. */
const STATEMENTS_MAX = 32;
const STATEMENT_BYTES_MAX = 4_096;
const VARINT_BYTES_MAX = 9;

/** What is wrong with how a file's pages and schema lie; undefined when it is as Silt writes them. */
export function layoutProblem(page: Uint8Array): string | undefined {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const pageBytes = view.getUint16(PAGE_SIZE_AT);
  if (pageBytes !== PAGE_BYTES) {
    return `its pages have ${pageBytes === 1 ? 65_536 : pageBytes} bytes, expected ${PAGE_BYTES}`;
  }
  if (page.byteLength < PAGE_BYTES) return "it ends within its first page";
  if (view.getUint8(RESERVED_AT) !== 0) return "it reserves bytes of each page, expected none";
  if (view.getUint32(LARGEST_ROOT_AT) !== 0) return "it vacuums by itself, expected no auto_vacuum";
  const statements = view.getUint16(TREE_AT + 3);
  const isSmall = view.getUint8(TREE_AT) === TABLE_LEAF && statements <= STATEMENTS_MAX;
  if (!isSmall) return "its schema is larger than that of a Silt file";
  for (let index = 0; index < statements; index++) {
    const bytes = payloadBytes(page, view.getUint16(CELLS_AT + 2 * index));
    if (bytes > STATEMENT_BYTES_MAX) return `its schema has a statement of ${bytes} bytes`;
  }
  return undefined;
}

/** The length that a cell begins with: a big-endian number in groups of seven bits. */
function payloadBytes(page: Uint8Array, at: number): number {
  let bytes = 0;
  for (let index = 0; index < VARINT_BYTES_MAX; index++) {
    const byte = page[at + index] ?? 0;
    bytes = bytes * 128 + (byte & 0x7f);
    if (byte < 0x80) break;
  }
  return bytes;
}
