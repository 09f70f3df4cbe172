/**
 * The journal of a slot, outside the store: before an operation its intent, after it that it was
 * acknowledged; synced, for it says what must be there. Each checkpoint begins a new file with what
 * was found then.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { KillRecord, Operation } from "./operation.ts";
import { SlotState } from "./slot-state.ts";

/** What the slot had at the checkpoint. */
interface BaseLine {
  readonly base: Readonly<Record<string, readonly KillRecord[]>>;
  readonly shards: Readonly<Record<string, number>>;
  readonly operation: number;
}

interface IntentLine {
  readonly intent: number;
  readonly collection: string;
  readonly does: Operation;
}

/** A line of a journal. */
export type JournalLine =
  | BaseLine
  | IntentLine
  /** Acknowledged: it will be there for ever. `visible`: a fresh read sees it from now on. */
  | { readonly ack: number; readonly visible: boolean }
  /** All operations up to this one are registered: a fresh read sees them. */
  | { readonly registered: number }
  /** What became of the operation in doubt; then all others are registered too. */
  | { readonly settled: number; readonly applied: boolean };

export const journalPath = (folder: string, epoch: number) => join(folder, `${epoch}.jsonl`);

/** What a slot's journal says. Reads on from where it stopped. */
export class SlotModel {
  readonly #path: string;
  readonly #states = new Map<string, SlotState>();
  #offset = 0;
  #doubt: { readonly operation: number; readonly collection: string } | undefined;
  #first = 0;
  #last = 0;
  #visible = 0;

  constructor(path: string) {
    this.#path = path;
    this.follow();
  }

  /** The number of the newest operation. */
  get last(): number {
    return this.#last;
  }

  /** So many operations since the journal's beginning. */
  get operations(): number {
    return this.#last - this.#first;
  }

  /** The operation whose outcome nobody knows. */
  get doubt(): { readonly operation: number; readonly collection: string } | undefined {
    return this.#doubt;
  }

  get collections(): readonly string[] {
    return [...this.#states.keys()];
  }

  stateOf(collection: string): SlotState {
    const state = this.#states.get(collection);
    if (state === undefined) throw new Error(`${this.#path} knows no collection ${collection}`);
    return state;
  }

  /** Position of the oldest state that a fresh read may still give. */
  visiblePosition(collection: string): number {
    return this.stateOf(collection).positionOf(this.#visible);
  }

  /** Takes in the whole lines that came since. */
  follow(): void {
    const bytes = readFrom(this.#path, this.#offset);
    const end = bytes.lastIndexOf(10) + 1;
    this.#offset += end;
    const text = bytes.subarray(0, end).toString("utf8");
    for (const line of text.split("\n")) if (line !== "") this.#take(JSON.parse(line));
  }

  #take(line: JournalLine): void {
    if ("base" in line) this.#begin(line);
    else if ("intent" in line) this.#intend(line);
    else if ("registered" in line) this.#visible = line.registered;
    else if ("settled" in line) this.#settle(line.applied);
    else {
      this.#doubt = undefined;
      if (line.visible) this.#visible = this.#last;
    }
  }

  #begin({ base, shards, operation }: BaseLine): void {
    for (const [collection, records] of Object.entries(base)) {
      this.#states.set(collection, new SlotState(shards[collection] ?? 1, records, operation));
    }
    this.#first = this.#last = this.#visible = operation;
  }

  #intend({ intent, collection, does }: IntentLine): void {
    this.#last = intent;
    this.#doubt = { operation: intent, collection };
    this.stateOf(collection).apply(intent, does);
  }

  #settle(applied: boolean): void {
    if (!applied && this.#doubt !== undefined) this.stateOf(this.#doubt.collection).takeBack();
    this.#doubt = undefined;
    this.#visible = this.#last;
  }
}

function readFrom(path: string, offset: number): Buffer {
  const descriptor = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(Math.max(0, fstatSync(descriptor).size - offset));
    const read = readSync(descriptor, bytes, 0, bytes.length, offset);
    return bytes.subarray(0, read);
  } finally {
    closeSync(descriptor);
  }
}

/** The one who appends to a slot's journal. */
export class RoleJournal implements Disposable {
  readonly model: SlotModel;
  readonly #descriptor: number;

  constructor(path: string) {
    // A line that a kill has torn was never begun to be acted on.
    const whole = readFileSync(path).lastIndexOf(10) + 1;
    this.#descriptor = openSync(path, "a");
    ftruncateSync(this.#descriptor, whole);
    this.model = new SlotModel(path);
  }

  append(line: JournalLine): void {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#descriptor, bytes, at);
    fsyncSync(this.#descriptor);
    this.model.follow();
  }

  /** Notes what is about to be done; gives its number. */
  intend(collection: string, does: Operation): number {
    const intent = this.model.last + 1;
    this.append({ intent, collection, does });
    return intent;
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }
}
