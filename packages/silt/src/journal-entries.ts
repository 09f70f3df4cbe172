/** The lines of one file of a writer's journal, checked before anything of them is written again. */
import { createHash } from "node:crypto";
import { lstatSync, readFileSync } from "node:fs";
import {
  type CollectionIdentity,
  checkChildId,
  decodeEmbedding,
  documentProblem,
  embeddingProblem,
  FORMAT,
  idProblem,
  metadataShapeProblem,
  type Row,
  reasonOf,
  SiltError,
  shardNames,
  type VectorField,
} from "@silt/core";

export interface JournalHeader {
  readonly format: number;
  readonly requires: readonly string[];
  readonly collection: string;
  readonly storeId: string;
}

export interface DraftNote {
  readonly drafts: readonly { readonly shard: string; readonly runId: string }[];
}

export type EncodedRow = Omit<Row, "embedding"> & { readonly embedding?: string };
export type EncodedOperation = { readonly row: EncodedRow } | { readonly replace: string };
/** One operation as a writer took it. */
export type JournalOperation = { readonly row: Row } | { readonly replace: string };
/** The operations of one call are one line, so that a crash takes all of them or none. */
export type JournalEntry = DraftNote | { readonly call: readonly JournalOperation[] };

/** What a file holds. */
export interface JournalContent {
  readonly entries: readonly JournalEntry[];
  /** So much of it is whole lines; what follows was torn, and nothing may be appended to that. */
  readonly bytes: number;
}

/** The first half of a line, which tells whether the rest is whole. */
export const lineHash = (json: string): string =>
  createHash("sha256").update(json).digest("hex").slice(0, 16);

/**
 * Reads a file. A torn end was never acknowledged; damage before it, and what no writer of this
 * collection writes, is `corrupt`. A file of another collection or format is `invalid`.
 */
export function readJournalFile(path: string, identity: CollectionIdentity): JournalContent {
  const { values, bytes } = wholeLines(path);
  const [first, ...rest] = values;
  if (first === undefined) return { entries: [], bytes: 0 };
  const header = first as JournalHeader | null;
  checkHeader(header, identity, path);
  const entries = rest.map((entry, index) => {
    try {
      return entryOf(entry, identity);
    } catch (error) {
      throw damaged(path, index + 2, `holds what no writer writes (${reasonOf(error)})`);
    }
  });
  return { entries, bytes };
}

function damaged(path: string, line: number, state: string): SiltError {
  return new SiltError(
    "corrupt",
    `Cannot replay journal "${path}": line ${line} ${state}; move the file away to go on without it`,
  );
}

/** The values of all lines that are whole. */
function wholeLines(path: string): {
  readonly values: readonly unknown[];
  readonly bytes: number;
} {
  // A pipe would be waited for, and what a link leads to is not ours to append to.
  if (!lstatSync(path).isFile()) {
    throw new SiltError("corrupt", `Cannot replay journal "${path}": it is no file; move it away`);
  }
  const bytes = readFileSync(path);
  const values: unknown[] = [];
  let at = 0;
  while (at < bytes.length) {
    const newline = bytes.indexOf(10, at);
    const end = newline === -1 ? bytes.length : newline;
    // The newline is written last: without it a line is torn.
    const json = newline === -1 ? undefined : wholeLine(bytes.toString("utf8", at, end));
    if (json === undefined) {
      const isLast = bytes.subarray(end).every((byte) => byte === 10);
      if (!isLast || !mayBeTorn(bytes.subarray(at, end), newline !== -1)) {
        throw damaged(path, values.length + 1, "is damaged");
      }
      break;
    }
    values.push(json);
    at = end + 1;
  }
  return { values, bytes: at };
}

/**
 * Whether a crash may have left a last line that is not whole: it lacks its end, or a power loss has left zeros
 * in it. Any other line was acknowledged, and is damaged.
 */
function mayBeTorn(line: Buffer, hasNewline: boolean): boolean {
  if (hasNewline) return line.includes(0);
  // Whole but for its newline, which has become another byte.
  return wholeLine(line.toString("utf8", 0, line.length - 1)) === undefined;
}

function wholeLine(line: string): unknown {
  const json = line.slice(17);
  if (line.slice(0, 17) !== `${lineHash(json)} `) return undefined;
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function checkHeader(
  header: JournalHeader | null,
  { collection, storeId }: CollectionIdentity,
  path: string,
): asserts header is JournalHeader {
  const mine =
    header?.format === FORMAT &&
    Array.isArray(header.requires) &&
    header.requires.length === 0 &&
    header.collection === collection &&
    header.storeId === storeId;
  if (mine) return;
  const told = [header?.collection, header?.storeId].map((name) => String(name).slice(0, 80));
  throw new SiltError(
    "invalid",
    `Cannot replay journal "${path}": it belongs to ${told.join("/")} in format ${Number(header?.format)}, ` +
      `expected ${collection}/${storeId} in format ${FORMAT}; use another folder`,
  );
}

/** Throws with the reason for what is no entry. */
function entryOf(entry: unknown, identity: CollectionIdentity): JournalEntry {
  if (entry === null || typeof entry !== "object") throw new Error("it is no object");
  const { drafts, call } = entry as Record<string, unknown>;
  if (drafts !== undefined) return { drafts: draftsOf(drafts, shardNames(identity.shards)) };
  if (call === undefined) return { call: [operationOf(entry, identity)] };
  if (!Array.isArray(call)) throw new Error("its call is no list");
  return { call: call.map((operation) => operationOf(operation, identity)) };
}

function operationOf(operation: unknown, identity: CollectionIdentity): JournalOperation {
  if (operation === null || typeof operation !== "object") throw new Error("it is no object");
  const { replace, row } = operation as Record<string, unknown>;
  if (replace !== undefined) {
    refuseIf(idProblem(replace, "replace"));
    return { replace: replace as string };
  }
  return { row: rowOf(row, identity) };
}

function refuseIf(problem: string | undefined): void {
  if (problem !== undefined) throw new Error(problem);
}

function draftsOf(drafts: unknown, shards: readonly string[]): DraftNote["drafts"] {
  if (!Array.isArray(drafts)) throw new Error("its drafts are no list");
  return drafts.map((draft) => {
    const { shard, runId } = (draft ?? {}) as Record<string, unknown>;
    if (typeof runId !== "string") throw new Error("a draft has no run id");
    if (!shards.includes(shard as string)) throw new Error("a draft is for an unknown shard");
    return { shard: shard as string, runId };
  });
}

/** Looser than what a caller may write in one thing: patches were folded, and add up. */
function rowOf(row: unknown, identity: CollectionIdentity): Row {
  if (row === null || typeof row !== "object") throw new Error("it has no row");
  const { operation, id, parent, embedding, document, metadata } = row as Record<string, unknown>;
  refuseIf(idProblem(id));
  if (operation === "delete") return { operation, id: id as string, sequence: 0 };
  if (operation !== "put" && operation !== "patch") throw new Error("its operation is unknown");
  refuseIf(document === null ? undefined : documentProblem(document));
  refuseIf(metadataShapeProblem(metadata, operation === "put" ? "refused" : "allowed"));
  const common = { id, document, metadata, sequence: 0 };
  if (operation === "patch") return { operation, ...common } as Row;
  refuseIf(parent === null ? undefined : idProblem(parent, "parent"));
  if (parent !== null) checkChildId(id as string, parent as string, identity.shards);
  return { operation, ...common, parent, embedding: vectorOf(embedding, identity) } as Row;
}

function vectorOf(embedding: unknown, identity: CollectionIdentity): Uint8Array {
  if (typeof embedding !== "string") throw new Error(`"embedding" is no text`);
  const bytes = new Uint8Array(Buffer.from(embedding, "base64"));
  if (bytes.byteLength % Float32Array.BYTES_PER_ELEMENT !== 0) {
    throw new Error(`"embedding" has ${bytes.byteLength} bytes`);
  }
  refuseIf(embeddingProblem(decodeEmbedding(bytes), identity.vectors[0] as VectorField));
  return bytes;
}
