import {
  type ColourEnvironment,
  createPaint,
  hasColours,
  type Paint,
  settleLine,
} from "./paint.ts";
import { createProgress, type Progress, type ProgressBar } from "./progress.ts";
import { type Cell, type Column, tableLines } from "./table.ts";

/** What of a `tty.WriteStream` is used; a pipe has no `isTTY` and no `columns`. */
export interface OutputStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export interface TerminalOptions {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: ColourEnvironment;
  /** Neither notes nor progress; results and errors stay. */
  readonly quiet: boolean;
  /** Standard output belongs to `json()`: `print` and `table` write nothing. */
  readonly json: boolean;
  readonly nowMs: () => number;
}

/**
 * Where a command writes. Lines may be painted; every other control character in them is made
 * harmless, and colours reach only streams that show them. Pass data through `plainText` before
 * it is put into a line of several (`table` and `progress` do it by themselves).
 */
export interface Terminal {
  /** Result for people, on standard output: one line, or several parted by `\n`. */
  print(text?: string): void;
  table(columns: readonly (Column | string)[], rows: readonly (readonly Cell[])[]): void;
  /** The result for programs, on standard output, in one line; only with `json`. */
  json(value: unknown): void;
  /** Something beside the result, on standard error, unless `quiet`. */
  note(text: string): void;
  /** Why the command failed, on standard error, always. */
  error(text: string): void;
  /** A progress bar on standard error; one at a time. `unit` is a plural noun, or `bytes`. */
  progress(label: string, unit: string): Progress;
  readonly paint: Paint;
}

/** Narrower than this a terminal is taken to be unknown, as some report 0 columns. */
const WIDTH_MIN = 20;

function widthOf(stream: OutputStream): number | undefined {
  if (stream.isTTY !== true) return undefined;
  return stream.columns !== undefined && stream.columns >= WIDTH_MIN ? stream.columns : 80;
}

export function createTerminal(options: TerminalOptions): Terminal {
  const { stdout, stderr, env, quiet, json } = options;
  const colours = { out: hasColours(stdout, env), error: hasColours(stderr, env) };
  // Each stream drops the colours that it must not show, so that one paint serves both.
  const paint = createPaint(colours.out || colours.error);
  let bar: ProgressBar | undefined;

  function write(stream: OutputStream, text: string, coloured: boolean): void {
    bar?.hide();
    stream.write(
      text
        .split("\n")
        .map((line) => `${settleLine(line, coloured)}\n`)
        .join(""),
    );
    bar?.show();
  }

  const print = (text = "") => {
    if (!json) write(stdout, text, colours.out);
  };

  return {
    paint,
    print,
    table(columns, rows) {
      const named = columns.map((column) =>
        typeof column === "string" ? { title: column } : column,
      );
      print(tableLines(named, rows, { width: widthOf(stdout), paint }).join("\n"));
    },
    json(value) {
      if (!json) return;
      bar?.hide();
      stdout.write(`${JSON.stringify(value)}\n`);
      bar?.show();
    },
    note(text) {
      if (!quiet) write(stderr, text, colours.error);
    },
    error(text) {
      write(stderr, text, colours.error);
    },
    progress(label, unit) {
      bar?.end();
      bar = createProgress(label, unit, {
        write: (text) => {
          if (!quiet) stderr.write(text);
        },
        width: () => (env.TERM === "dumb" ? undefined : widthOf(stderr)),
        nowMs: options.nowMs,
      });
      return bar;
    },
  };
}
