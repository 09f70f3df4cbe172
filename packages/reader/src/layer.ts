/**
 * A layer: the net effect of a range of runs, as a reader sees it. Layers lie over each other, oldest
 * first: the segments of a version, then the pending runs of a fresh read.
 */
import type { PutRow, Row, SegmentContent } from "@silt/core";
import { compareIds } from "@silt/core";
import type { SegmentFile } from "@silt/segment";
import { loadVectorBlock, type VectorBlock, type VectorBlockOptions } from "./vector-block.ts";

/** The vectors of a layer, and the put behind each. */
export interface LayerVectors {
  readonly block: VectorBlock;
  readonly rowAt: (index: number) => PutRow;
}

export interface Layer {
  /** The row about an id, if this layer has one. */
  row(id: string): Row | undefined;
  /** The run that replaced the parent last in this layer. */
  replacedAt(parent: string): number | undefined;
  /** Ids of this layer's puts of a parent. */
  childrenOf(parent: string): readonly string[];
  /** Rows with `id > after` in the order of {@link compareIds}, at most `limit`. */
  page(after: string, limit: number): readonly Row[];
  /** True when some put or patch has this metadata key. */
  hasMetadataKey(key: string): boolean;
  /** Loaded at the first call, which may take long for a large segment. */
  vectors(): LayerVectors;
}

/** A layer over an open segment; `loadVectors` gives its block with the rowid of each vector, at each call. */
export function segmentLayer(
  file: SegmentFile,
  loadVectors: () => { readonly block: VectorBlock; readonly rowids: ArrayLike<number> },
): Layer {
  let loaded: LayerVectors | undefined;
  return {
    row: (id) => file.row(id),
    replacedAt: (parent) => file.replacedAt(parent),
    childrenOf: (parent) => file.childrenOf(parent),
    page: (after, limit) => file.page(after, limit),
    hasMetadataKey: (key) => file.hasMetadataKey(key),
    vectors() {
      const { block, rowids } = loadVectors();
      if (loaded?.block !== block) {
        loaded = { block, rowAt: (index) => file.rowAt(rowids[index] as number) as PutRow };
      }
      return loaded;
    },
  };
}

/** A layer over a content in memory. */
export function contentLayer(content: SegmentContent, options: VectorBlockOptions): Layer {
  const { rows, replaced } = content;
  let sorted: readonly Row[] | undefined;
  let loaded: LayerVectors | undefined;
  const puts = () => [...rows.values()].filter((row) => row.operation === "put");
  return {
    row: (id) => rows.get(id),
    replacedAt: (parent) => replaced.get(parent),
    childrenOf: (parent) =>
      puts()
        .filter((row) => row.parent === parent)
        .map((row) => row.id),
    page(after, limit) {
      sorted ??= [...rows.values()].sort((a, b) => compareIds(a.id, b.id));
      const from = firstAfter(sorted, after);
      return sorted.slice(from, from + limit);
    },
    hasMetadataKey: (key) =>
      [...rows.values()].some(
        (row) => row.operation !== "delete" && Object.hasOwn(row.metadata, key),
      ),
    vectors() {
      loaded ??= contentVectors(puts(), options);
      return loaded;
    },
  };
}

/** Index of the first row whose id comes after `after`. */
function firstAfter(sorted: readonly Row[], after: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareIds((sorted[middle] as Row).id, after) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function contentVectors(puts: readonly PutRow[], options: VectorBlockOptions): LayerVectors {
  const dimension = (puts[0]?.embedding.byteLength ?? 4) / 4;
  const block = loadVectorBlock(
    {
      dimension,
      count: puts.length,
      read(target, firstRow, count) {
        const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
        for (let row = 0; row < count; row++) {
          bytes.set((puts[firstRow + row] as PutRow).embedding, row * dimension * 4);
        }
      },
    },
    options,
  );
  return { block, rowAt: (index) => puts[index] as PutRow };
}
