/** What a merge is held against: the order of its inputs, their newest rows, and its books (I3). */
import {
  addLanes,
  countRows,
  type DigestSums,
  type DropRule,
  type Logger,
  type MergeAccount,
  type RowCounts,
  SiltError,
  sameLanes,
  ZERO_LANES,
} from "@silt/core";
import { closeFile, openForBulk } from "./sqlite-file.ts";

/** One input file; a delta's rows get the number of its run. */
export interface MergeSource {
  readonly path: string;
  readonly kind: "delta" | "segment";
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly rows: RowCounts;
  readonly sums: DigestSums;
}

/** The contiguous runs that a merge's output stands for. */
export interface SequenceRange {
  readonly firstSequence: number;
  readonly lastSequence: number;
}

/** Inputs go oldest first and within the range; a gap between them is a run that was excluded. */
export function checkOrder(
  sources: readonly MergeSource[],
  range: SequenceRange,
  path: string,
): void {
  let after = range.firstSequence - 1;
  for (const { firstSequence, lastSequence } of sources) {
    if (firstSequence <= after || lastSequence < firstSequence) after = Number.MAX_SAFE_INTEGER;
    else after = lastSequence;
  }
  if (sources.length > 0 && after <= range.lastSequence) return;
  const inputs = sources.map((source) => `${source.firstSequence}-${source.lastSequence}`);
  throw new SiltError(
    "internal",
    `Cannot merge into "${path}": its inputs are ${inputs.join(", ") || "none"}, expected runs ` +
      `from ${range.firstSequence} to ${range.lastSequence}, oldest first`,
  );
}

/**
 * No input row of a surviving id may be newer than the output's: a second, independent look. A patch
 * that met a delete left no trace, so deletes prove nothing.
 */
export function checkNothingNewer(
  sources: readonly MergeSource[],
  rule: DropRule,
  path: string,
  logger: Logger,
): void {
  const gone = rule.drop === "nothing" ? "merged.id IS NULL OR" : "";
  const db = openForBulk(path, logger);
  try {
    for (const source of sources.slice(1)) {
      db.prepare("ATTACH ? AS source").run(source.path);
      const stamp = source.kind === "delta" ? String(source.firstSequence) : "input.sequence";
      const newer = db
        .prepare(
          `SELECT input.id FROM source.rows AS input LEFT JOIN main.rows AS merged ON merged.id = input.id
           WHERE ${gone} (merged.operation <> 'delete' AND merged.sequence < ${stamp}) LIMIT 1`,
        )
        .pluck()
        .get();
      db.exec("DETACH source");
      if (newer !== undefined) {
        throw new SiltError(
          "internal",
          `Cannot merge into "${path}": id "${newer}" lost its newest row`,
        );
      }
    }
  } finally {
    closeFile(db, logger);
  }
}

export function checkBalance(
  sources: readonly MergeSource[],
  out: { readonly rows: RowCounts; readonly sums: DigestSums },
  account: MergeAccount,
  path: string,
): void {
  const vIn = sources.reduce((sum, source) => addLanes(sum, source.sums.v), ZERO_LANES);
  const tIn = sources.reduce((sum, source) => addLanes(sum, source.sums.t), ZERO_LANES);
  const rowsIn = sources.reduce((sum, source) => sum + countRows(source.rows), 0);
  const putsIn = sources.reduce((sum, source) => sum + source.rows.put, 0);
  const { created, consumed } = account;
  const balanced =
    sameLanes(vIn, addLanes(out.sums.v, account.superseded)) &&
    putsIn === out.rows.put + account.supersededRows &&
    sameLanes(addLanes(tIn, created.t), addLanes(out.sums.t, consumed.t)) &&
    rowsIn + created.rows === countRows(out.rows) + consumed.rows;
  if (!balanced) {
    throw new SiltError(
      "internal",
      `Cannot publish merge "${path}": its accounts do not balance (${rowsIn} rows in, ` +
        `${created.rows} created, ${countRows(out.rows)} out, ${consumed.rows} consumed)`,
    );
  }
}
