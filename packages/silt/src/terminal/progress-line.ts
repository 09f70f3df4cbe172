import { displayWidth, truncate } from "./display-width.ts";
import { formatBytes } from "./format-bytes.ts";
import { formatCount } from "./format-count.ts";
import { formatDuration } from "./format-duration.ts";

export interface ProgressState {
  readonly label: string;
  /** What is counted, in the plural; `bytes` are shown with their unit. */
  readonly unit: string;
  readonly done: number;
  readonly total: number | undefined;
  /** Undefined until there is something to measure. */
  readonly perSecond: number | undefined;
}

const BAR_WIDTH_MAX = 24;
const BAR_WIDTH_MIN = 6;
const GAP = "  ";

function amount(count: number, unit: string): string {
  return unit === "bytes" ? formatBytes(count) : formatCount(count);
}

function rateOf({ unit, perSecond }: ProgressState): string | undefined {
  if (perSecond === undefined) return undefined;
  if (unit === "bytes") return `${formatBytes(perSecond)}/s`;
  return `${perSecond < 10 ? perSecond.toFixed(1) : formatCount(perSecond)}/s`;
}

function timeLeftOf({ done, total, perSecond }: ProgressState): string | undefined {
  if (total === undefined || !perSecond || done >= total) return undefined;
  return `${formatDuration(Math.ceil((total - done) / perSecond) * 1_000)} left`;
}

function countsOf({ unit, done, total }: ProgressState): string {
  const noun = unit === "bytes" ? "" : ` ${unit}`;
  return total === undefined
    ? `${amount(done, unit)}${noun}`
    : `${amount(done, unit)}/${amount(total, unit)}${noun}`;
}

function barOf({ done, total }: ProgressState, width: number): string {
  const share = total ? Math.min(1, Math.max(0, done / total)) : 1;
  const full = Math.floor(share * width);
  return "█".repeat(full) + "░".repeat(width - full);
}

/** Label, counts, rate and time left, without a bar: what a log file gets. */
export function progressText(state: ProgressState): string {
  return [state.label, countsOf(state), rateOf(state), timeLeftOf(state)]
    .filter((part) => part !== undefined)
    .join(GAP);
}

/** The same with a bar that takes what room there is; never wider than `width`. */
export function progressBar(state: ProgressState, width: number): string {
  const text = progressText(state);
  const room = width - displayWidth(text) - GAP.length;
  if (state.total === undefined || room < BAR_WIDTH_MIN) return truncate(text, width);
  const rest = text.slice(state.label.length + GAP.length);
  return [state.label, barOf(state, Math.min(BAR_WIDTH_MAX, room)), rest].join(GAP);
}
