import { plainText } from "./plain-text.ts";

/** What of the process's environment decides about colours. */
export type ColourEnvironment = Readonly<Record<string, string | undefined>>;

/** Wraps text in a colour or weight, or returns it as it is where colours are off. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

const ESCAPE = "\u001b";
const STYLES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const satisfies Record<keyof Paint, readonly [number, number]>;
/** The sequences that paint makes, and no other. */
const PAINTED = new RegExp(`(${ESCAPE}\\[(?:1|2|22|31|32|33|36|39)m)`);
const RESET = `${ESCAPE}[0m`;

/**
 * Whether a stream gets colours: FORCE_COLOR decides if set (`0` and `false` mean no), then a
 * non-empty NO_COLOR forbids them (no-color.org), then it takes a terminal that isn't `dumb`.
 */
export function hasColours(
  stream: { readonly isTTY?: boolean | undefined },
  env: ColourEnvironment,
): boolean {
  const forced = env.FORCE_COLOR;
  if (forced) return forced !== "0" && forced !== "false";
  if (env.NO_COLOR) return false;
  return stream.isTTY === true && env.TERM !== "dumb";
}

export function createPaint(enabled: boolean): Paint {
  const style = (name: keyof Paint) => (text: string) => {
    if (!enabled || text === "") return text;
    const [on, off] = STYLES[name];
    return `${ESCAPE}[${on}m${text}${ESCAPE}[${off}m`;
  };
  return {
    bold: style("bold"),
    dim: style("dim"),
    red: style("red"),
    green: style("green"),
    yellow: style("yellow"),
    cyan: style("cyan"),
  };
}

/**
 * A line as it may reach a stream: of all control characters only paint's own sequences stay, and
 * those only with `colours`; a line that had any ends with a reset, so that no colour leaks on.
 */
export function settleLine(line: string, colours: boolean): string {
  const parts = line.split(PAINTED);
  const settled = parts
    .map((part, index) => (index % 2 === 0 ? plainText(part) : colours ? part : ""))
    .join("");
  return colours && parts.length > 1 ? settled + RESET : settled;
}
