/** Two folds of the same records, row by row where their sums differ. */
import {
  compareIds,
  countRows,
  type Logger,
  lanesToHex,
  type MergedSegment,
  type Row,
  rowSums,
  SiltError,
} from "@silt/core";
import { openSegmentFile } from "@silt/segment";

const DIFFERS_MAX = 20;
const ROWS_PAGE = 1_000;

/** Rows of a fold; undefined is that of nothing. */
export const rowsOf = (merged: MergedSegment | undefined): number =>
  merged === undefined ? 0 : countRows(merged.rows);

/** The first ids that only one side has, or that differ; without a look at rows when the sums are equal. */
export function compareFolds(
  a: MergedSegment | undefined,
  b: MergedSegment | undefined,
  logger: Logger,
): readonly string[] {
  const isEmpty = rowsOf(a) + rowsOf(b) === 0;
  if (isEmpty || summaryOf(a) === summaryOf(b)) return [];
  const differs: string[] = [];
  using rows = new DisposableStack();
  const [left, right] = [a, b].map((side) => {
    const iterator = rowsIn(side, logger);
    rows.defer(() => void iterator.return?.(undefined));
    return iterator;
  }) as [Generator<Row, void>, Generator<Row, void>];
  let [l, r] = [left.next(), right.next()];
  while ((!l.done || !r.done) && differs.length < DIFFERS_MAX) {
    const order = l.done ? 1 : r.done ? -1 : compareIds(l.value.id, r.value.id);
    const row = (order <= 0 ? l.value : r.value) as Row;
    const isSame = order === 0 && !l.done && !r.done && digestOf(l.value) === digestOf(r.value);
    if (!isSame) differs.push(row.id);
    if (order <= 0) l = left.next();
    if (order >= 0) r = right.next();
  }
  return differs;
}

function summaryOf(merged: MergedSegment | undefined): string | undefined {
  if (merged === undefined) return undefined;
  const { put, patch, delete: deletes } = merged.rows;
  return `${lanesToHex(merged.sums.v)} ${lanesToHex(merged.sums.t)} ${put} ${patch} ${deletes}`;
}

function* rowsIn(merged: MergedSegment | undefined, logger: Logger): Generator<Row, void> {
  if (merged === undefined) return;
  using file = openSegmentFile(fileOf(merged), logger);
  for (let after = ""; ; ) {
    const page = file.page(after, ROWS_PAGE);
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < ROWS_PAGE) return;
    after = last.id;
  }
}

/** The file of what an engine on files has merged. */
export function fileOf({ source }: MergedSegment): string {
  if (source.kind === "file") return source.path;
  throw new SiltError("internal", "Cannot rebuild: the engine keeps segments in memory");
}

function digestOf(row: Row): string {
  const { v, t } = rowSums(row);
  return `${lanesToHex(v)} ${lanesToHex(t)}`;
}
