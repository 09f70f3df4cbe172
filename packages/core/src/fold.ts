/**
 * The fold: what a newer segment does to an older, adjacent one. Writers fold their buffer, readers
 * overlay deltas and the reference model answers by this one definition; the SQL merge is held
 * against it by tests.
 */
import {
  addLanes,
  addSums,
  type DigestSums,
  type Lanes,
  rowSums,
  ZERO_LANES,
  ZERO_SUMS,
} from "./digest.ts";
import type { Metadata, MetadataPatch, PatchRow, PutRow, Row, SegmentContent } from "./row.ts";

/** Which effects without a target may be forgotten: only those of a merge that reaches the oldest. */
export type DropRule =
  | { readonly drop: "nothing" }
  /** Forget deletes, patches and replaced parents of runs before `keepFrom` (of all when undefined). */
  | { readonly drop: "spent"; readonly keepFrom?: number | undefined };

/** Rows and sums of one side of a merge's balance. */
export interface Tally {
  readonly rows: number;
  readonly t: Lanes;
}

/**
 * The balance of a merge: `Σv(in) = Σv(out) + Σv(superseded)`, and for rows and `Σt`
 * `in + created = out + consumed`.
 */
export interface MergeAccount {
  readonly created: Tally;
  readonly consumed: Tally;
  readonly superseded: Lanes;
  readonly supersededRows: number;
}

const NO_TALLY: Tally = { rows: 0, t: ZERO_LANES };
export const NO_ACCOUNT: MergeAccount = {
  created: NO_TALLY,
  consumed: NO_TALLY,
  superseded: ZERO_LANES,
  supersededRows: 0,
};

function tally(into: Tally, row: Row): Tally {
  return { rows: into.rows + 1, t: addLanes(into.t, rowSums(row).t) };
}

/** The metadata of a record after a patch: `null` removes the key. */
export function applyMetadataPatch(metadata: Metadata, patch: MetadataPatch): Metadata {
  const next = new Map(Object.entries(metadata));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) next.delete(key);
    else next.set(key, value);
  }
  return Object.fromEntries(next);
}

export function patchPut(put: PutRow, patch: PatchRow): PutRow {
  return {
    ...put,
    document: patch.document ?? put.document,
    metadata: applyMetadataPatch(put.metadata, patch.metadata),
    sequence: patch.sequence,
  };
}

/** Two patches as one; `null` stays, for it must still remove the key from what lies below. */
export function composePatches(older: PatchRow, newer: PatchRow): PatchRow {
  return {
    ...newer,
    document: newer.document ?? older.document,
    metadata: { ...older.metadata, ...newer.metadata },
  };
}

/** True for rows and markers that {@link DropRule} lets go. */
export function isSpent(sequence: number, rule: DropRule): boolean {
  return rule.drop === "spent" && (rule.keepFrom === undefined || sequence < rule.keepFrom);
}

/** Composes `newer` over the adjacent `older` and keeps the books. */
export function composeWithAccount(
  older: SegmentContent,
  newer: SegmentContent,
  rule: DropRule = { drop: "nothing" },
): { readonly content: SegmentContent; readonly account: MergeAccount } {
  let created = NO_TALLY;
  let consumed = NO_TALLY;
  let superseded = ZERO_LANES;
  let supersededRows = 0;
  const consume = (row: Row, vectorGoes: boolean) => {
    consumed = tally(consumed, row);
    if (row.operation !== "put" || !vectorGoes) return;
    superseded = addLanes(superseded, rowSums(row).v);
    supersededRows += 1;
  };
  const create = (row: Row): Row => {
    created = tally(created, row);
    return row;
  };

  const rows = new Map<string, Row>();
  for (const [id, row] of older.rows) {
    const killer =
      row.operation === "put" && row.parent !== null ? newer.replaced.get(row.parent) : undefined;
    if (killer === undefined) rows.set(id, row);
    else {
      consume(row, true);
      // A delete, not a gap: it must not uncover a still older record of this id.
      rows.set(id, create({ operation: "delete", id, sequence: killer }));
    }
  }
  for (const [id, row] of newer.rows) {
    const below = rows.get(id);
    if (below === undefined) rows.set(id, row);
    else if (row.operation !== "patch") {
      consume(below, true);
      rows.set(id, row);
    } else {
      consume(row, false);
      if (below.operation === "delete") continue;
      consume(below, false);
      rows.set(
        id,
        create(below.operation === "put" ? patchPut(below, row) : composePatches(below, row)),
      );
    }
  }
  const replaced = new Map(older.replaced);
  for (const [parent, sequence] of newer.replaced) replaced.set(parent, sequence);

  for (const [id, row] of rows) {
    if (row.operation === "put" || !isSpent(row.sequence, rule)) continue;
    consume(row, false);
    rows.delete(id);
  }
  for (const [parent, sequence] of replaced) {
    if (isSpent(sequence, rule)) replaced.delete(parent);
  }
  return {
    content: { rows, replaced },
    account: { created, consumed, superseded, supersededRows },
  };
}

/** {@link composeWithAccount} without the books. */
export function compose(
  older: SegmentContent,
  newer: SegmentContent,
  rule?: DropRule,
): SegmentContent {
  return composeWithAccount(older, newer, rule).content;
}

/** The same content as if run `sequence` had written all of it. */
export function stampSequence(content: SegmentContent, sequence: number): SegmentContent {
  const rows = new Map<string, Row>();
  for (const [id, row] of content.rows) rows.set(id, { ...row, sequence });
  const replaced = new Map([...content.replaced.keys()].map((parent) => [parent, sequence]));
  return { rows, replaced };
}

/** Digest sums over all rows of a content. */
export function contentSums(content: SegmentContent): DigestSums {
  let sums = ZERO_SUMS;
  for (const row of content.rows.values()) sums = addSums(sums, rowSums(row));
  return sums;
}
