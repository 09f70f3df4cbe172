import { displayWidth, truncate } from "./display-width.ts";
import { formatCount } from "./format-count.ts";
import type { Paint } from "./paint.ts";
import { plainText } from "./plain-text.ts";

/** A number is shown by `formatCount`, what is missing as `-`. */
export type Cell = string | number | null | undefined;

export interface Column {
  readonly title: string;
  /** Without it a column of numbers goes right, any other left. */
  readonly align?: "left" | "right";
  /** The least important column: cut where the terminal is too narrow; of several the last first. */
  readonly shrinks?: boolean;
  /** Colours one cell by its text, for instance `paint.red` for what is damaged. */
  readonly paint?: (text: string) => string;
}

export interface TableLook {
  /** Columns of the terminal; without it nothing is cut. */
  readonly width?: number | undefined;
  readonly paint: Paint;
}

interface Laid {
  readonly column: Column;
  readonly texts: readonly string[];
  readonly right: boolean;
  readonly width: number;
}

const GAP = "  ";
const SHRUNK_WIDTH_MIN = 8;

function textOf(cell: Cell): string {
  if (cell === null || cell === undefined || cell === "") return "-";
  return typeof cell === "number" ? formatCount(cell) : plainText(cell);
}

function layColumn(column: Column, cells: readonly Cell[]): Laid {
  const texts = cells.map(textOf);
  const known = cells.filter((cell) => cell !== null && cell !== undefined);
  const numbers = known.length > 0 && known.every((cell) => typeof cell === "number");
  const right = column.align === undefined ? numbers : column.align === "right";
  const width = [column.title, ...texts].reduce(
    (most, text) => Math.max(most, displayWidth(text)),
    0,
  );
  return { column, texts, right, width };
}

/** Takes the columns that are too many from those that shrink, the last of them first. */
function fitColumns(laid: readonly Laid[], width: number): readonly Laid[] {
  const taken = laid.reduce((sum, column) => sum + column.width, GAP.length * (laid.length - 1));
  let excess = taken - width;
  const fitted = laid.toReversed().map((entry) => {
    const least = Math.max(SHRUNK_WIDTH_MIN, displayWidth(entry.column.title));
    if (excess <= 0 || entry.column.shrinks !== true || entry.width <= least) return entry;
    const shrunk = Math.max(least, entry.width - excess);
    excess -= entry.width - shrunk;
    return { ...entry, width: shrunk };
  });
  return fitted.toReversed();
}

function drawCell(entry: Laid, whole: string, last: boolean, paint?: (text: string) => string) {
  const text = truncate(whole, entry.width);
  const blanks = " ".repeat(entry.width - displayWidth(text));
  const painted = paint === undefined ? text : paint(text);
  if (entry.right) return blanks + painted;
  return last ? painted : painted + blanks;
}

/**
 * The lines of a table without boxes: a dim header, two blanks between columns, numbers to the
 * right. Cells are data, so that their control characters are made harmless here.
 */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  look: TableLook,
): readonly string[] {
  const whole = columns.map((column, index) =>
    layColumn(
      column,
      rows.map((row) => row[index]),
    ),
  );
  const laid = look.width === undefined ? whole : fitColumns(whole, look.width);
  const last = laid.length - 1;
  const header = laid.map((entry, index) => drawCell(entry, entry.column.title, index === last));
  const body = rows.map((_, row) =>
    laid
      .map((entry, index) =>
        drawCell(entry, entry.texts[row] as string, index === last, entry.column.paint),
      )
      .join(GAP),
  );
  return [look.paint.dim(header.join(GAP)), ...body];
}
