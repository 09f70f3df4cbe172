/**
 * What one actor can be at. Its code is deterministic, so that where it stands is a function of the
 * answers it has got: a tree, whose edges are answers and whose nodes are the call it waits with, or its end.
 * A node is made by running the real code up to there, once; from then on it is a look into a map.
 */
import type { Ports } from "@silt/core";
import type { Call, Perform } from "./call.ts";

export type End =
  | { readonly outcome: "returned"; readonly value: unknown }
  | { readonly outcome: "threw"; readonly error: unknown };

export type Role = "writer" | "compactor" | "collector" | "rollback" | "pin" | "deleter";

/** What an actor does, from its start to its end. */
export interface Program {
  readonly name: string;
  readonly role: Role;
  readonly run: (ports: Ports) => Promise<unknown>;
  /** The version that it asks for, if any. */
  readonly target?: number;
}

type Answer = { readonly answer: string; readonly value: () => unknown };

export interface LocalState {
  readonly id: number;
  readonly parent: LocalState | undefined;
  /** What led here. */
  readonly given: Answer | undefined;
  /** What the actor waits with; undefined at its end. */
  readonly call: Call | undefined;
  readonly end: End | undefined;
  readonly next: Map<string, LocalState>;
  readonly past: Past;
}

/** What of an actor's past decides what it can still do. */
export interface Past {
  /** Of a collector: the objects that its look has found; nothing else will it delete. */
  readonly listed: ReadonlySet<string> | undefined;
  /** Of a collector: how often it has looked at the collection. */
  readonly looks: number;
  /** Its own flip was answered: it will flip no more. */
  readonly flipped: boolean;
}

interface Parked {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** The actor's code while it runs: parked in one call at a time. */
class Instance {
  #parked: Parked | undefined;
  #arrived: (at: Call | End) => void = () => {};

  start(open: (perform: Perform) => Ports, program: Program): Promise<Call | End> {
    const perform = ((call: Call) =>
      new Promise<unknown>((resolve, reject) => {
        if (this.#parked !== undefined) throw new Error(`${program.name} makes two calls at once`);
        this.#parked = { resolve, reject };
        this.#arrived(call);
      })) as Perform;
    const arrival = new Promise<Call | End>((resolve) => {
      this.#arrived = resolve;
    });
    program.run(open(perform)).then(
      (value) => this.#arrived({ outcome: "returned", value }),
      (error: unknown) => this.#arrived({ outcome: "threw", error }),
    );
    return arrival;
  }

  go({ value }: Answer): Promise<Call | End> {
    const parked = this.#parked;
    if (parked === undefined) throw new Error("The actor waits for nothing");
    this.#parked = undefined;
    const arrival = new Promise<Call | End>((resolve) => {
      this.#arrived = resolve;
    });
    try {
      parked.resolve(value());
    } catch (error) {
      parked.reject(error);
    }
    return arrival;
  }
}

/** Instances that wait at a leaf are kept, so that going on from there costs one step; not too many of them. */
const LIVE_MAX = 400;

export class LocalStates {
  readonly program: Program;
  readonly #open: (perform: Perform) => Ports;
  readonly #live = new Map<LocalState, Instance>();
  #count = 0;
  /** Calls that the real code was run through. */
  realSteps = 0;

  constructor(program: Program, open: (perform: Perform) => Ports) {
    this.program = program;
    this.#open = open;
  }

  get size(): number {
    return this.#count;
  }

  async start(): Promise<LocalState> {
    const instance = new Instance();
    const at = await instance.start(this.#open, this.program);
    return this.#add(undefined, undefined, at, instance);
  }

  /** Where an answer leads; a promise when nobody has been there yet. */
  next(from: LocalState, answer: Answer): LocalState | Promise<LocalState> {
    return from.next.get(answer.answer) ?? this.#extend(from, answer);
  }

  async #extend(from: LocalState, answer: Answer): Promise<LocalState> {
    let instance = this.#live.get(from);
    if (instance === undefined) instance = await this.#replay(from);
    else this.#live.delete(from);
    this.realSteps += 1;
    return this.#add(from, answer, await instance.go(answer), instance);
  }

  async #replay(to: LocalState): Promise<Instance> {
    const answers: Answer[] = [];
    for (let at: LocalState | undefined = to; at?.given !== undefined; at = at.parent) {
      answers.push(at.given);
    }
    const instance = new Instance();
    await instance.start(this.#open, this.program);
    for (const answer of answers.reverse()) await instance.go(answer);
    this.realSteps += answers.length;
    return instance;
  }

  #add(
    parent: LocalState | undefined,
    given: Answer | undefined,
    at: Call | End,
    instance: Instance,
  ): LocalState {
    this.#count += 1;
    const call = "apply" in at ? at : undefined;
    const state: LocalState = {
      id: this.#count,
      parent,
      given,
      call,
      end: "apply" in at ? undefined : at,
      next: new Map(),
      past: pastOf(parent, given),
    };
    if (parent !== undefined && given !== undefined) parent.next.set(given.answer, state);
    if (call !== undefined) this.#keep(state, instance);
    return state;
  }

  #keep(state: LocalState, instance: Instance): void {
    this.#live.set(state, instance);
    if (this.#live.size <= LIVE_MAX) return;
    for (const oldest of this.#live.keys()) {
      this.#live.delete(oldest);
      return;
    }
  }
}

function pastOf(parent: LocalState | undefined, given: Answer | undefined): Past {
  const past = parent?.past ?? { listed: undefined, looks: 0, flipped: false };
  const call = parent?.call;
  if (call === undefined || given === undefined) return past;
  const [touch] = call.touches;
  if (touch?.what === "folder") {
    return { ...past, listed: new Set([...(past.listed ?? []), ...given.answer.split(" ")]) };
  }
  if (touch?.what === "config" && touch.key.endsWith("/collection.json")) {
    return { ...past, looks: past.looks + 1 };
  }
  if (touch?.what === "pointer" && touch.writes && given.answer === "stored") {
    return { ...past, flipped: true };
  }
  return past;
}
