/** A scalar of a record's flat metadata. */
export type MetadataValue = string | number | boolean;
/** Metadata of a record: a flat object. */
export type Metadata = Readonly<Record<string, MetadataValue>>;
/** What a patch does to metadata: set a key, or remove it with `null`. */
export type MetadataPatch = Readonly<Record<string, MetadataValue | null>>;

/** A record as stored. `embedding` holds the float32 components, little-endian. */
export interface PutRow {
  readonly operation: "put";
  readonly id: string;
  readonly parent: string | null;
  readonly embedding: Uint8Array;
  readonly document: string | null;
  readonly metadata: Metadata;
  /** The run that last touched the row; 0 inside a delta, which cannot know it. */
  readonly sequence: number;
}

export interface DeleteRow {
  readonly operation: "delete";
  readonly id: string;
  readonly sequence: number;
}

/** Changes a record if it exists. A `null` document leaves the document as it is. */
export interface PatchRow {
  readonly operation: "patch";
  readonly id: string;
  readonly document: string | null;
  readonly metadata: MetadataPatch;
  readonly sequence: number;
}

/** The net effect of a range of runs on one id. */
export type Row = PutRow | DeleteRow | PatchRow;

/**
 * The fold of a contiguous range of runs: at most one row an id, and the replaced parents with the
 * run that replaced each last. A replaced parent never touches the content's own rows.
 */
export interface SegmentContent {
  readonly rows: ReadonlyMap<string, Row>;
  readonly replaced: ReadonlyMap<string, number>;
}

/** A content without any effect. */
export const EMPTY_CONTENT: SegmentContent = { rows: new Map(), replaced: new Map() };

/** Rows by operation. */
export interface RowCounts {
  readonly put: number;
  readonly patch: number;
  readonly delete: number;
}

/** Sum of all rows of a {@link RowCounts}. */
export function countRows(counts: RowCounts): number {
  return counts.put + counts.patch + counts.delete;
}
