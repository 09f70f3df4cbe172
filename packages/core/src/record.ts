import { canonicalJson } from "./canonical-json.ts";
import type { VectorField } from "./formats.ts";
import type { Metadata, MetadataPatch, PatchRow, PutRow } from "./row.ts";
import { checkChildId } from "./sharding.ts";
import { SiltError } from "./silt-error.ts";

export const ID_BYTES_MAX = 1_024;
export const DOCUMENT_BYTES_MAX = 1024 * 1024;
export const METADATA_BYTES_MAX = 64 * 1024;

/** A record as a caller writes it. `embedding`: finite float32 components, as many as the collection's dimension. */
export interface RecordInput {
  readonly id: string;
  readonly parent?: string;
  readonly embedding?: Float32Array | readonly number[];
  readonly document?: string;
  readonly metadata?: Metadata;
}

/** A change of an existing record; a metadata key with `null` is removed. */
export interface PatchInput {
  readonly id: string;
  readonly document?: string;
  readonly metadata?: MetadataPatch;
}

const utf8 = new TextEncoder();

/** Length of `text` as UTF-8; the short-cut spares encoding what cannot be too long. */
function exceedsBytes(text: string, bytesMax: number): boolean {
  return text.length * 3 > bytesMax && utf8.encode(text).length > bytesMax;
}

/** Why `id` is no id or parent, or undefined. */
export function idProblem(id: unknown, what = "id"): string | undefined {
  if (id === undefined) return `there is no "${what}"`;
  if (typeof id !== "string") return `"${what}" is not a string`;
  if (id === "") return `"${what}" is empty`;
  if (!id.isWellFormed()) return `"${what}" has an unpaired surrogate`;
  if (id.includes("\0")) return `"${what}" has a zero byte`;
  if (exceedsBytes(id, ID_BYTES_MAX)) return `"${what}" is over ${ID_BYTES_MAX} bytes`;
  return undefined;
}

/** Throws `invalid` unless `id` can name a record, or with `what` a parent. */
export function checkId(action: string, id: unknown, what = "id"): void {
  const problem = idProblem(id, what);
  if (problem !== undefined) throw new SiltError("invalid", `Cannot ${action}: ${problem}`);
}

export function documentProblem(document: unknown): string | undefined {
  if (typeof document !== "string") return `"document" is not a string`;
  if (!document.isWellFormed()) return `"document" has an unpaired surrogate`;
  if (document.includes("\0")) return `"document" has a zero byte`;
  if (exceedsBytes(document, DOCUMENT_BYTES_MAX)) return `"document" is over 1 MiB`;
  return undefined;
}

/** Why `metadata` is not flat, finite and small, or undefined. `null` values only where allowed. */
export function metadataProblem(
  metadata: unknown,
  nulls: "allowed" | "refused",
): string | undefined {
  if (hasTooManyKeys(metadata)) return `"metadata" is over 64 KiB`;
  const unfit = metadataShapeProblem(metadata, nulls);
  if (unfit !== undefined) return unfit;
  return exceedsBytes(canonicalJson(metadata), METADATA_BYTES_MAX)
    ? `"metadata" is over 64 KiB`
    : undefined;
}

/** Spares encoding a million keys, of which each takes five bytes or more: `"":1,`. */
function hasTooManyKeys(metadata: unknown): boolean {
  if (metadata === null || typeof metadata !== "object") return false;
  return Object.keys(metadata).length * 5 > METADATA_BYTES_MAX;
}

/**
 * {@link metadataProblem} without the limit of size, which holds for what one write brings: several
 * patches of one record may make more of it.
 */
export function metadataShapeProblem(
  metadata: unknown,
  nulls: "allowed" | "refused",
): string | undefined {
  if (metadata === null || typeof metadata !== "object" || Array.isArray(metadata)) {
    return `"metadata" is not an object`;
  }
  for (const [key, value] of Object.entries(metadata)) {
    if (!key.isWellFormed() || key.includes("\0")) return `"metadata" has a key that is not text`;
    if (value === null) {
      if (nulls === "allowed") continue;
      return `"metadata" key "${key}" is null; leave the key out (only a patch removes keys with null)`;
    }
    if (typeof value === "object") return `"metadata" key "${key}" is not flat`;
    if (typeof value === "number" && !Number.isFinite(value)) {
      return `"metadata" key "${key}" is not a finite number`;
    }
    if (typeof value === "string" && (!value.isWellFormed() || value.includes("\0"))) {
      return `"metadata" key "${key}" has an unpaired surrogate or a zero byte`;
    }
    if (!["string", "number", "boolean"].includes(typeof value)) {
      return `"metadata" key "${key}" is a ${typeof value}`;
    }
  }
  return undefined;
}

/** Why the components are no vector of this field, or undefined. */
export function embeddingProblem(
  embedding: ArrayLike<unknown>,
  field: VectorField,
): string | undefined {
  if (embedding.length !== field.dimension) {
    return `"embedding" has ${embedding.length} dimensions, the collection has ${field.dimension}`;
  }
  let squared = 0;
  for (let index = 0; index < embedding.length; index++) {
    const component = embedding[index];
    if (typeof component !== "number") return `"embedding"[${index}] is not a number`;
    const stored = Math.fround(component);
    if (!Number.isFinite(stored)) {
      return `"embedding"[${index}] is ${Number.isFinite(component) ? `${component}, too large for float32` : component}`;
    }
    squared += stored * stored;
  }
  if (squared === 0 && field.metric === "cosine") {
    return `"embedding" is a zero vector, which has no direction under cosine`;
  }
  return undefined;
}

/** Little-endian float32 bytes of a vector. */
export function encodeEmbedding(embedding: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(embedding.length * 4);
  const floats = new Float32Array(bytes.buffer);
  for (let index = 0; index < embedding.length; index++) floats[index] = embedding[index] as number;
  return bytes;
}

/** The float32 components of stored bytes. Copies when the bytes are not aligned. */
export function decodeEmbedding(bytes: Uint8Array): Float32Array {
  if (bytes.byteOffset % 4 === 0) {
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  }
  const copy = Uint8Array.from(bytes);
  return new Float32Array(copy.buffer, 0, copy.byteLength / 4);
}

function refuse(action: string, id: unknown, reason: string): never {
  const name = typeof id === "string" && id.isWellFormed() ? ` "${id.slice(0, 80)}"` : "";
  throw new SiltError("invalid", `Cannot ${action} record${name}: ${reason}`);
}

const PUT_KEYS = new Set(["id", "parent", "embedding", "document", "metadata"]);
const PATCH_KEYS = new Set(["id", "document", "metadata"]);

function checkKeys(action: string, input: unknown, known: ReadonlySet<string>) {
  if (input === null || typeof input !== "object" || Array.isArray(input)) {
    refuse(action, undefined, "it is not an object");
  }
  const stray = Object.keys(input).find((key) => !known.has(key));
  const id = (input as { id?: unknown }).id;
  if (stray !== undefined) {
    refuse(action, id, `it has an unknown key "${stray}", expected only ${[...known].join(", ")}`);
  }
}

/** Checks a record against a collection and gives the row to store. Throws `invalid` with the reason. */
export function parseRecord(input: unknown, field: VectorField, shards: number): PutRow {
  checkKeys("put", input, PUT_KEYS);
  const { id, parent, embedding, document, metadata } = input as Record<string, unknown>;
  const problem =
    idProblem(id) ??
    (parent == null ? undefined : idProblem(parent, "parent")) ??
    (document == null ? undefined : documentProblem(document)) ??
    (metadata == null ? undefined : metadataProblem(metadata, "refused"));
  if (problem !== undefined) refuse("put", id, problem);
  if (!Array.isArray(embedding) && !(embedding instanceof Float32Array)) {
    refuse("put", id, `there is no "embedding", expected ${field.dimension} numbers`);
  }
  const unsound = embeddingProblem(embedding, field);
  if (unsound !== undefined) refuse("put", id, unsound);
  if (parent != null) checkChildId(id as string, parent as string, shards);
  return {
    operation: "put",
    id: id as string,
    parent: (parent ?? null) as string | null,
    embedding: encodeEmbedding(embedding),
    document: (document ?? null) as string | null,
    metadata: (metadata ?? {}) as Metadata,
    sequence: 0,
  };
}

/** Checks a patch and gives the row to store. Throws `invalid` with the reason. */
export function parsePatch(input: unknown): PatchRow {
  checkKeys("patch", input, PATCH_KEYS);
  const { id, document, metadata } = input as Record<string, unknown>;
  const problem =
    idProblem(id) ??
    (document === undefined ? undefined : documentProblem(document)) ??
    (metadata === undefined ? undefined : metadataProblem(metadata, "allowed"));
  if (problem !== undefined) refuse("patch", id, problem);
  return {
    operation: "patch",
    id: id as string,
    document: (document ?? null) as string | null,
    metadata: (metadata ?? {}) as MetadataPatch,
    sequence: 0,
  };
}
