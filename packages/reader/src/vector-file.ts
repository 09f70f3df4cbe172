/**
 * A segment's vectors as one contiguous file of the local cache: loads about twice as fast as rows
 * of SQLite, checksum included, and can be searched without being held in
 * memory. It is derived, never authoritative: a bad one is thrown away and made again.
 *
 * Layout: a page with the header (canonical JSON, then zeros), the vectors as float32 little-endian,
 * the rows' SQLite rowids as float64 little-endian. The header's CRC-32 covers all after its page:
 * against rot, not against an enemy, who could as well change this program; SHA-256 takes 3 times as long.
 */
import { randomUUID } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, renameSync, rmSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import { canonicalJson, reasonOf, SiltError } from "@silt/core";
import type { VectorSource } from "./row-memory.ts";
import { loadVectorBlock, type VectorBlock, type VectorBlockOptions } from "./vector-block.ts";

const HEADER_BYTES = 4096;
const BUFFER_BYTES = 1024 * 1024;
const FORMAT = 1;

/** What the file must be made from to be of use. */
export interface VectorFileKey {
  readonly dimension: number;
  /** SHA-256 of the segment's SQLite file. */
  readonly segmentSha256: string;
}

interface Header extends VectorFileKey {
  readonly count: number;
  /** Eight hexadecimal digits. */
  readonly payloadCrc32: string;
}

/** One row of a segment; `embedding` holds its float32 components, little-endian. */
export interface VectorRow {
  readonly rowid: number;
  readonly embedding: Uint8Array;
}

export type OpenVectorFileOutcome =
  | {
      readonly outcome: "opened";
      readonly block: VectorBlock;
      /** SQLite rowid by index in the block. */
      readonly rowids: Float64Array;
    }
  | { readonly outcome: "absent" }
  /** Damaged, or made from something else: remove it and write it again. */
  | { readonly outcome: "unsound"; readonly reason: string };

const hexOf = (checksum: number) => checksum.toString(16).padStart(8, "0");

function encodeHeader(header: Header): Uint8Array {
  const page = new Uint8Array(HEADER_BYTES);
  new TextEncoder().encodeInto(
    canonicalJson({ ...header, kind: "vectors", format: FORMAT, requires: [] }),
    page,
  );
  return page;
}

const bytesOf = (array: Float32Array | Float64Array) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

function writeAll(file: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length; ) {
    at += writeSync(file, bytes, at, bytes.length - at, position + at);
  }
}

/** Fills `bytes` from a file. Throws `corrupt` when it ends before. */
function readAll(file: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length; ) {
    const read = readSync(file, bytes, at, bytes.length - at, position + at);
    if (read === 0) throw new SiltError("corrupt", "Cannot read vector file: it ends too soon");
    at += read;
  }
}

/** Writes all after the header page; returns what the header says about it. */
function writePayload(file: number, key: VectorFileKey, rows: Iterable<VectorRow>): Header {
  const rowBytes = key.dimension * 4;
  let checksum = 0;
  const buffer = new Uint8Array(Math.max(1, Math.floor(BUFFER_BYTES / rowBytes)) * rowBytes);
  const rowids: number[] = [];
  let position = HEADER_BYTES;
  let filled = 0;
  const flush = (bytes: Uint8Array) => {
    checksum = crc32(bytes, checksum);
    writeAll(file, bytes, position);
    position += bytes.length;
  };
  for (const { rowid, embedding } of rows) {
    if (embedding.length !== rowBytes) {
      throw new SiltError(
        "corrupt",
        `Cannot write vector of row ${rowid}: ${embedding.length} bytes, expected ${rowBytes}`,
      );
    }
    buffer.set(embedding, filled);
    filled += rowBytes;
    rowids.push(rowid);
    if (filled < buffer.length) continue;
    flush(buffer);
    filled = 0;
  }
  flush(buffer.subarray(0, filled));
  flush(bytesOf(Float64Array.from(rowids)));
  const { dimension, segmentSha256 } = key;
  return { dimension, segmentSha256, count: rowids.length, payloadCrc32: hexOf(checksum) };
}

/**
 * Writes a vector file under a temporary name and renames it into place when it is whole. It is not
 * synced: a torn one is found when it is opened. Throws `unavailable` when the disk fails.
 */
export function writeVectorFile(path: string, key: VectorFileKey, rows: Iterable<VectorRow>): void {
  const temporary = `${path}.${randomUUID()}.tmp`;
  let file: number | undefined;
  try {
    file = openSync(temporary, "wx");
    writeAll(file, encodeHeader(writePayload(file, key, rows)), 0);
    closeSync(file);
    file = undefined;
    renameSync(temporary, path);
  } catch (cause) {
    if (file !== undefined) closeSync(file);
    rmSync(temporary, { force: true });
    if (cause instanceof SiltError) throw cause;
    const message = `Cannot write vector file "${path}": ${reasonOf(cause)}`;
    throw new SiltError("unavailable", message, { cause });
  }
}

/** The header, or why it is none of ours. Every field is held against something: nothing is trusted. */
function readHeader(file: number, expected: VectorFileKey): Header | string {
  const bytes = fstatSync(file).size;
  if (bytes < HEADER_BYTES) return `it has ${bytes} bytes, less than a header`;
  const page = new Uint8Array(HEADER_BYTES);
  readAll(file, page, 0);
  const { dimension, segmentSha256 } = expected;
  const found = /"count":(\d{1,12}),.*"payloadCrc32":"([0-9a-f]{8})"/.exec(
    new TextDecoder("latin1").decode(page),
  );
  if (found === null) return "its header cannot be read";
  const header = {
    dimension,
    segmentSha256,
    count: Number(found[1]),
    payloadCrc32: found[2] as string,
  };
  if (Buffer.compare(encodeHeader(header), page) !== 0) {
    return `its header is damaged, or not for segment ${segmentSha256}`;
  }
  const whole = HEADER_BYTES + header.count * (dimension * 4 + 8);
  return bytes === whole ? header : `it has ${bytes} bytes, its header says ${whole}`;
}

function readRowids(file: number, { count, dimension }: Header): Float64Array {
  const rowids = new Float64Array(count);
  readAll(file, bytesOf(rowids), HEADER_BYTES + count * dimension * 4);
  return rowids;
}

/** Loads the block of an open file, which then belongs to it, checking the payload on the way. */
function loadPayload(
  file: number,
  header: Header,
  rowids: Float64Array,
  options: VectorBlockOptions,
): OpenVectorFileOutcome {
  const { dimension, count } = header;
  const rowBytes = dimension * 4;
  let checksum = 0;
  let loading = true;
  const source: VectorSource = {
    dimension,
    count,
    read(target, firstRow) {
      const bytes = bytesOf(target);
      readAll(file, bytes, HEADER_BYTES + firstRow * rowBytes);
      // Loading reads every row once, in order; later reads are of what was checked then.
      if (loading) checksum = crc32(bytes, checksum);
    },
    close: () => closeSync(file),
  };
  const block = loadVectorBlock(source, options);
  loading = false;
  if (hexOf(crc32(bytesOf(rowids), checksum)) === header.payloadCrc32) {
    return { outcome: "opened", block, rowids };
  }
  block[Symbol.dispose]();
  return { outcome: "unsound", reason: "its content does not match its checksum" };
}

/**
 * Opens a vector file and loads its block, verifying every byte while it streams in. Dispose the
 * block when done: a windowed one keeps the file open. Throws `unavailable` when the disk fails.
 */
export function openVectorFile(
  path: string,
  expected: VectorFileKey,
  options: VectorBlockOptions,
): OpenVectorFileOutcome {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    const header = readHeader(file, expected);
    if (typeof header === "string") return { outcome: "unsound", reason: header };
    const rowids = readRowids(file, header);
    const owned = file;
    file = undefined;
    return loadPayload(owned, header, rowids, options);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return { outcome: "absent" };
    if (cause instanceof SiltError) {
      if (cause.kind !== "corrupt") throw cause;
      return { outcome: "unsound", reason: cause.message };
    }
    const message = `Cannot read vector file "${path}": ${reasonOf(cause)}`;
    throw new SiltError("unavailable", message, { cause });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
