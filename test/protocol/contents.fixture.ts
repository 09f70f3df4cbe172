/** Operations and contents of runs, said shortly. */
import { encodeEmbedding, type MetadataPatch, type Row, type SegmentContent } from "@silt/core";

export const put = (id: string, parent: string | null = null, metadata = {}): Row => ({
  operation: "put",
  id,
  parent,
  embedding: encodeEmbedding([1, 2]),
  document: `document of ${id}`,
  metadata,
  sequence: 0,
});
export const gone = (id: string): Row => ({ operation: "delete", id, sequence: 0 });
export const patch = (id: string, metadata: MetadataPatch): Row => ({
  operation: "patch",
  id,
  document: null,
  metadata,
  sequence: 0,
});
export const run = (rows: readonly Row[], replaced: readonly string[] = []): SegmentContent => ({
  rows: new Map(rows.map((row) => [row.id, row])),
  replaced: new Map(replaced.map((parent) => [parent, 0])),
});
