import { plainText } from "./plain-text.ts";
import { progressBar, progressText } from "./progress-line.ts";

export interface Progress {
  /** Reports how much is done, of how much if that is known. Cheap: call it as often as you like. */
  update(done: number, total?: number): void;
  /** Clears the bar, or writes the last plain line. */
  end(): void;
}

/** A bar that other output can push aside, so that a note isn't written into it. */
export interface ProgressBar extends Progress {
  hide(): void;
  show(): void;
}

export interface ProgressOutput {
  write(text: string): void;
  /** Columns of a terminal that can redraw a line; undefined: plain lines, seldom. */
  readonly width: () => number | undefined;
  readonly nowMs: () => number;
}

interface Sample {
  readonly atMs: number;
  readonly done: number;
}

const REDRAW_MS = 100;
const PLAIN_LINE_MS = 5_000;
/** The rate is that of the last half minute: what went before says little about the time left. */
const RATE_WINDOW_MS = 30_000;
const SAMPLE_MS = 500;
const CLEAR_LINE = "\r\u001b[K";

/** Work done per second over the last samples. */
class Rate {
  #samples: readonly Sample[] = [];

  add(sample: Sample): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && sample.atMs - last.atMs < SAMPLE_MS) return;
    const recent = this.#samples.filter(({ atMs }) => sample.atMs - atMs <= RATE_WINDOW_MS);
    this.#samples = [...recent, sample];
  }

  perSecond(now: Sample): number | undefined {
    const first = this.#samples[0];
    if (first === undefined || now.atMs <= first.atMs) return undefined;
    return ((now.done - first.done) * 1_000) / (now.atMs - first.atMs);
  }
}

/** Progress of one long work: one redrawn line on a terminal, else a plain line every 5 s. */
export function createProgress(label: string, unit: string, output: ProgressOutput): ProgressBar {
  const rate = new Rate();
  const startedMs = output.nowMs();
  let state = { label: plainText(label), unit, done: 0, total: undefined as number | undefined };
  let drawnMs: number | undefined;
  let plainMs = startedMs;
  let plainLines = 0;
  let ended = false;

  const current = (atMs: number) => ({
    ...state,
    perSecond: rate.perSecond({ atMs, done: state.done }),
  });

  function draw(width: number, atMs: number): void {
    // One column stays free: a full line would wrap on some terminals.
    output.write(`${CLEAR_LINE}${progressBar(current(atMs), width - 1)}`);
    drawnMs = atMs;
  }

  function writePlain(atMs: number): void {
    output.write(`${progressText(current(atMs))}\n`);
    plainMs = atMs;
    plainLines += 1;
  }

  return {
    update(done, total = state.total) {
      if (ended) return;
      const atMs = output.nowMs();
      state = { ...state, done, total };
      rate.add({ atMs, done });
      const width = output.width();
      if (width === undefined) {
        if (atMs - plainMs >= PLAIN_LINE_MS) writePlain(atMs);
      } else if (drawnMs === undefined || atMs - drawnMs >= REDRAW_MS) draw(width, atMs);
    },
    end() {
      if (ended) return;
      ended = true;
      if (drawnMs !== undefined) output.write(CLEAR_LINE);
      // Work that was short enough to need no line while it ran needs none at its end either.
      else if (plainLines > 0) writePlain(output.nowMs());
    },
    hide() {
      if (!ended && drawnMs !== undefined) output.write(CLEAR_LINE);
    },
    show() {
      const width = output.width();
      if (!ended && drawnMs !== undefined && width !== undefined) draw(width, output.nowMs());
    },
  };
}
