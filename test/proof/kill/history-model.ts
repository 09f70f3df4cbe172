/**
 * What one slot has done to a collection of its own, with rollbacks and pins: the runs by their sequence
 * numbers, the ranges that were rolled back, the versions that are held. Its journal is never begun anew.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { changeBy, type KillRecord, type Operation } from "./operation.ts";

/** From one sequence number to another, both included. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** What may be in doubt. */
export type Deed =
  | { readonly write: Operation; readonly sequence: number }
  | { readonly rollback: string; readonly range: Range }
  | { readonly pin: number }
  | { readonly unpin: number };

export type HistoryLine = Deed | { readonly done: boolean };

export const isWithin = (sequence: number, ranges: readonly Range[]): boolean =>
  ranges.some(({ from, to }) => from <= sequence && sequence <= to);

/** Follows a journal, and appends to it. */
export class HistoryModel implements Disposable {
  readonly #descriptor: number;
  readonly #writes = new Map<number, Operation>();
  readonly #excluded: Range[] = [];
  readonly #pinned = new Set<number>();
  #doubt: Deed | undefined;

  constructor(path: string) {
    const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
    const whole = bytes.lastIndexOf(10) + 1;
    this.#descriptor = openSync(path, "a");
    // A line that a kill has torn was never begun to be acted on.
    ftruncateSync(this.#descriptor, whole);
    const lines = bytes.subarray(0, whole).toString("utf8").split("\n");
    for (const line of lines) if (line !== "") this.#take(JSON.parse(line));
  }

  /** What was begun and not answered. */
  get doubt(): Deed | undefined {
    return this.#doubt;
  }

  /** The last sequence number that was acknowledged. */
  get sequence(): number {
    return this.#writes.size;
  }

  get pinned(): ReadonlySet<number> {
    return this.#pinned;
  }

  get excluded(): readonly Range[] {
    return this.#excluded;
  }

  /** The records after all runs up to `sequence` outside of these ranges. */
  records(sequence = this.sequence, excluded = this.excluded): readonly KillRecord[] {
    const records = new Map<string, KillRecord>();
    for (const [number, operation] of this.#writes) {
      if (number > sequence || isWithin(number, excluded)) continue;
      for (const [id, after] of changeBy(operation, records)) {
        if (after === undefined) records.delete(id);
        else records.set(id, after);
      }
    }
    return [...records.values()];
  }

  append(line: HistoryLine): void {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#descriptor, bytes, at);
    fsyncSync(this.#descriptor);
    this.#take(line);
  }

  #take(line: HistoryLine): void {
    if (!("done" in line)) {
      this.#doubt = line;
      return;
    }
    const deed = this.#doubt;
    this.#doubt = undefined;
    if (deed === undefined || !line.done) return;
    if ("write" in deed) this.#writes.set(deed.sequence, deed.write);
    else if ("rollback" in deed) this.#excluded.push(deed.range);
    else if ("pin" in deed) this.#pinned.add(deed.pin);
    else this.#pinned.delete(deed.unpin);
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }
}
