/** The patches of one input: composed with what lies below them by core's fold, row by row. */
import {
  canonicalJson,
  composePatches,
  lanesOf,
  type MergeAccount,
  type PatchRow,
  type PutRow,
  patchPut,
  type Tally,
  textDigest,
} from "@silt/core";
import type { MergeSource } from "./check-merge.ts";
import { consume, create } from "./merge-account.ts";
import { digestHalves, INSERT_ROW, rowOf, rowValues, type StoredRow } from "./segment-rows.ts";
import type { SqliteDatabase } from "./sqlite-file.ts";

/** Patches are read in pages: they carry no vectors, but their number has no bound. */
const PATCH_PAGE_ROWS = 1_000;
type PatchPair = StoredRow & {
  readonly below: StoredRow["operation"] | null;
  readonly belowDocument: string | null;
  readonly belowMetadata: string | null;
};

/**
 * What patches consume and create is booked from the bytes that were read, not from the digests
 * beside them: a patch or a patched row that was damaged breaks the balance.
 */
export function applyPatches(
  db: SqliteDatabase,
  source: MergeSource,
  before: MergeAccount,
): MergeAccount {
  // Looking for none takes as long as the rest of a small merge; a wrong count breaks the balance.
  if (source.rows.patch === 0) return before;
  let account = before;
  const page = db.prepare<[string, number], PatchPair>(
    `SELECT patch.operation, patch.id, patch.parent, patch.sequence, patch.document, patch.metadata,
       patch.embedding, below.operation AS below, below.document AS belowDocument, below.metadata AS belowMetadata
     FROM source.rows AS patch LEFT JOIN main.rows AS below ON below.id = patch.id
     WHERE patch.operation = 'patch' AND patch.id > ? ORDER BY patch.id LIMIT ?`,
  );
  const insert = db.prepare(INSERT_ROW);
  const update = db.prepare(
    "UPDATE main.rows SET sequence = ?, ta = ?, tb = ?, document = ?, metadata = ? WHERE id = ?",
  );
  for (let after = ""; ; ) {
    const pairs = page.all(after, PATCH_PAGE_ROWS);
    for (const pair of pairs) {
      const sequence = source.kind === "delta" ? source.firstSequence : pair.sequence;
      const patch = rowOf(pair, sequence) as PatchRow;
      if (pair.below === null) {
        insert.run(rowValues(patch));
        continue;
      }
      account = consume(account, rowTally("patch", pair.id, pair.document, pair.metadata));
      if (pair.below !== "delete") account = patchBelow(update, pair, patch, account);
    }
    if (pairs.length < PATCH_PAGE_ROWS) return account;
    after = (pairs[pairs.length - 1] as PatchPair).id;
  }
}

function rowTally(...fields: Parameters<typeof textDigest>): Tally {
  return { rows: 1, t: lanesOf(textDigest(...fields)) };
}

function patchBelow(
  update: ReturnType<SqliteDatabase["prepare"]>,
  pair: PatchPair,
  patch: PatchRow,
  before: MergeAccount,
): MergeAccount {
  const operation = pair.below as "put" | "patch";
  const below = {
    operation,
    id: pair.id,
    parent: null,
    embedding: new Uint8Array(),
    document: pair.belowDocument,
    metadata: JSON.parse(pair.belowMetadata as string),
    sequence: 0,
  } as PutRow | PatchRow;
  const after = below.operation === "put" ? patchPut(below, patch) : composePatches(below, patch);
  const metadata = canonicalJson(after.metadata);
  const digest = textDigest(operation, pair.id, after.document, metadata);
  const [ta, tb] = digestHalves(digest);
  update.run([patch.sequence, ta, tb, after.document, metadata, pair.id]);
  const gone = rowTally(operation, pair.id, pair.belowDocument, pair.belowMetadata);
  return create(consume(before, gone), { rows: 1, t: lanesOf(digest) });
}
