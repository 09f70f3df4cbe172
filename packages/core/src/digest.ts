import { hash } from "node:crypto";
import { canonicalJson } from "./canonical-json.ts";
import type { Row } from "./row.ts";

/** A 128-bit digest as four unsigned lanes of 32 bits; sums are taken lane by lane, modulo 2^32. */
export type Lanes = readonly [number, number, number, number];

/** Sums over the rows of a segment: `v` of vectors (puts only), `t` of everything else in a row. */
export interface DigestSums {
  readonly v: Lanes;
  readonly t: Lanes;
}

export const ZERO_LANES: Lanes = [0, 0, 0, 0];
export const ZERO_SUMS: DigestSums = { v: ZERO_LANES, t: ZERO_LANES };

export function addLanes(a: Lanes, b: Lanes): Lanes {
  return [(a[0] + b[0]) >>> 0, (a[1] + b[1]) >>> 0, (a[2] + b[2]) >>> 0, (a[3] + b[3]) >>> 0];
}

export function sameLanes(a: Lanes, b: Lanes): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2] && a[3] === b[3];
}

export function addSums(a: DigestSums, b: DigestSums): DigestSums {
  return { v: addLanes(a.v, b.v), t: addLanes(a.t, b.t) };
}

/** 32 hexadecimal digits, lane 0 first. */
export function lanesToHex(lanes: Lanes): string {
  return lanes.map((lane) => lane.toString(16).padStart(8, "0")).join("");
}

export function lanesFromHex(hex: string): Lanes {
  const lane = (index: number) => Number.parseInt(hex.slice(index * 8, index * 8 + 8), 16);
  return [lane(0), lane(1), lane(2), lane(3)];
}

/** The first 128 bits of a SHA-256, as stored with each row. */
export const DIGEST_BYTES = 16;

export function lanesOf(digest: Uint8Array): Lanes {
  const view = new DataView(digest.buffer, digest.byteOffset, DIGEST_BYTES);
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)];
}

const ABSENT_FIELD = 0xffff_ffff;
let scratch = Buffer.alloc(64 * 1024);

/** SHA-256 of the fields, each prefixed by its length (all ones = absent), cut to 128 bits. */
function digestFields(fields: readonly (string | Uint8Array | null)[]): Buffer {
  let needed = 0;
  for (const field of fields) {
    needed +=
      4 + (field === null ? 0 : typeof field === "string" ? field.length * 3 : field.length);
  }
  if (scratch.length < needed) scratch = Buffer.alloc(needed * 2);
  let at = 0;
  for (const field of fields) {
    if (field === null) {
      scratch.writeUInt32BE(ABSENT_FIELD, at);
      at += 4;
      continue;
    }
    const start = at + 4;
    if (typeof field === "string") at = start + scratch.write(field, start, "utf8");
    else {
      scratch.set(field, start);
      at = start + field.length;
    }
    scratch.writeUInt32BE(at - start, start - 4);
  }
  return hash("sha256", scratch.subarray(0, at), "buffer").subarray(0, DIGEST_BYTES);
}

/** Digest of what a merge never makes: (id, parent, embedding) of a put. */
export function vectorDigest(id: string, parent: string | null, embedding: Uint8Array): Buffer {
  return digestFields([id, parent, embedding]);
}

/** Digest of (operation, id, document, canonical metadata); the sequence is left out on purpose. */
export function textDigest(
  operation: Row["operation"],
  id: string,
  document: string | null,
  metadata: string | null,
): Buffer {
  return digestFields([operation, id, document, metadata]);
}

/** The sums that one row adds. */
export function rowSums(row: Row): DigestSums {
  if (row.operation === "delete") {
    return { v: ZERO_LANES, t: lanesOf(textDigest("delete", row.id, null, null)) };
  }
  const t = lanesOf(textDigest(row.operation, row.id, row.document, canonicalJson(row.metadata)));
  if (row.operation === "patch") return { v: ZERO_LANES, t };
  return { v: lanesOf(vectorDigest(row.id, row.parent, row.embedding)), t };
}
