import { composePatches, patchPut } from "./fold.ts";
import type { PatchRow, Row, SegmentContent } from "./row.ts";

/**
 * A content that operations are folded into, in call order and in place: what `compose` gives for
 * the same operations one by one, without copying. Writers and overlays of pending runs use it.
 */
export interface DeltaBuffer {
  /** Rows and replaced parents that it holds. */
  readonly size: number;
  /** About the bytes that it holds, never less than embeddings, documents and metadata take. */
  readonly bytes: number;
  /** Folds a put, a delete or a patch over what is there. */
  add(row: Row): void;
  /** All earlier records of the parent go. */
  replace(parent: string, sequence?: number): void;
  /** Folds a newer content over this one. */
  apply(newer: SegmentContent): void;
  /** The content so far; later operations change it. */
  content(): SegmentContent;
}

const ROW_OVERHEAD_BYTES = 200;

function bytesOf(row: Row): number {
  const base = ROW_OVERHEAD_BYTES + row.id.length;
  if (row.operation === "delete") return base;
  let text = row.document?.length ?? 0;
  for (const [key, value] of Object.entries(row.metadata)) {
    text += key.length + (typeof value === "string" ? value.length : 8);
  }
  return base + 2 * text + (row.operation === "put" ? row.embedding.byteLength : 0);
}

/** A buffer without operations. */
export function createDeltaBuffer(): DeltaBuffer {
  const rows = new Map<string, Row>();
  const replaced = new Map<string, number>();
  const children = new Map<string, Set<string>>();
  let bytes = 0;

  const set = (row: Row) => {
    const before = rows.get(row.id);
    if (before !== undefined) {
      bytes -= bytesOf(before);
      if (before.operation === "put" && before.parent !== null) {
        children.get(before.parent)?.delete(row.id);
      }
    }
    rows.set(row.id, row);
    bytes += bytesOf(row);
    if (row.operation !== "put" || row.parent === null) return;
    const siblings = children.get(row.parent) ?? new Set();
    children.set(row.parent, siblings.add(row.id));
  };
  const patch = (newer: PatchRow) => {
    const below = rows.get(newer.id);
    if (below?.operation === "delete") return;
    if (below === undefined) set(newer);
    else set(below.operation === "put" ? patchPut(below, newer) : composePatches(below, newer));
  };
  const add = (row: Row) => (row.operation === "patch" ? patch(row) : set(row));
  const replace = (parent: string, sequence = 0) => {
    for (const id of children.get(parent) ?? []) set({ operation: "delete", id, sequence });
    children.delete(parent);
    replaced.set(parent, sequence);
    bytes += ROW_OVERHEAD_BYTES + parent.length;
  };
  return {
    get size() {
      return rows.size + replaced.size;
    },
    get bytes() {
      return bytes;
    },
    add,
    replace,
    apply(newer) {
      for (const [parent, sequence] of newer.replaced) replace(parent, sequence);
      for (const row of newer.rows.values()) add(row);
    },
    content: () => ({ rows, replaced }),
  };
}
