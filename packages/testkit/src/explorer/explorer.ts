/** Depth-first search over all interleavings of the real code of several actors, states hashed. */
import { sha256Of } from "@silt/core";
import { Violation } from "../simulator/violation.ts";
import type { Perform } from "./call.ts";
import { Checker } from "./checker.ts";
import { checkEnd } from "./claims.ts";
import type { Configuration, Limits, Prepared } from "./configuration.ts";
import { FingerprintSet } from "./fingerprint-set.ts";
import { LeaseCalls } from "./lease-calls.ts";
import { type LocalState, LocalStates, type Program } from "./local-states.ts";
import {
  carryOut,
  fingerprintOf,
  type Move,
  movesOf,
  type Outcome,
  type Rules,
  type State,
  stateAfter,
} from "./moves.ts";
import { contentId, objectIn, objectName, type StoredBytes } from "./object-calls.ts";
import { settle } from "./settle.ts";
import { lineOf } from "./trace-line.ts";
import { EMPTY_WORLD, Vocabulary, type World, withValue } from "./world.ts";
import { worldPorts } from "./world-ports.ts";

export interface Totals {
  /** Distinct states: world, where each actor is, budgets used. */
  states: number;
  transitions: number;
  /** Ends: nobody can go on within the limits. */
  executions: number;
  /** Transitions into states that were seen. */
  pruned: number;
  deepest: number;
  /** Distinct worlds, and how many of them were left to who comes after. */
  worlds: number;
  settled: number;
  /** Distinct points that the actors' code was at, and the calls it really made to get there. */
  localStates: number;
  realSteps: number;
}

export interface Found {
  readonly invariant: string;
  readonly message: string;
  readonly trace: readonly string[];
}

interface Frame {
  readonly state: State;
  readonly moves: readonly Move[];
  /** What led here. */
  readonly line: (() => string) | undefined;
  next: number;
}

/** Where a violation was found. */
class Broken extends Error {
  readonly violation: Violation;
  readonly line: (() => string) | undefined;

  constructor(violation: Violation, line: (() => string) | undefined) {
    super(violation.message);
    this.violation = violation;
    this.line = line;
  }
}

const ACTOR_SEED = 100;
const SETUP_SEED = 1;
const CLOCK_EVERY = 256;
/** Beyond this a shortest trace is not looked for. */
const SHORTEST_STATES_MAX = 1_500_000;

export class Explorer {
  readonly totals: Totals = {
    states: 0,
    transitions: 0,
    executions: 0,
    pruned: 0,
    deepest: 0,
    worlds: 0,
    settled: 0,
    localStates: 0,
    realSteps: 0,
  };
  /** Hashes of the worlds in which executions end, where the limits ask for them. */
  readonly endings = new Set<string>();
  readonly #configuration: Configuration;
  readonly #limits: Limits;
  readonly #vocabulary = new Vocabulary();
  readonly #leases: LeaseCalls;
  readonly #locals: LocalStates[] = [];
  readonly #actors: Program[] = [];
  #worlds = new FingerprintSet();
  #prepared: Prepared | undefined;
  #checker: Checker | undefined;
  #rules: Rules | undefined;

  constructor(configuration: Configuration, limits: Limits) {
    this.#configuration = configuration;
    this.#limits = limits;
    this.#leases = new LeaseCalls(this.#vocabulary, () => 0);
  }

  /** Prepares the store and starts all actors. */
  async #begin(): Promise<State> {
    let world = EMPTY_WORLD;
    const perform: Perform = async (call) => {
      const step = call.apply(world);
      world = step.world;
      return step.value();
    };
    const damage = (key: string) => {
      const { bytes } = objectIn(this.#vocabulary, world, key) as StoredBytes;
      const worse = Uint8Array.from(bytes, (byte, index) => (index === 0 ? byte ^ 1 : byte));
      const name = objectName(this.#vocabulary, key);
      world = withValue(world, name, contentId(this.#vocabulary, worse));
    };
    const ports = worldPorts(this.#vocabulary, SETUP_SEED, perform);
    const prepared = await this.#configuration.prepare({ ports, damage });
    const checker = new Checker(this.#vocabulary, prepared.shard, world);
    world = checker.hints.hinted(world, prepared.shard);
    this.#prepared = prepared;
    this.#checker = checker;
    for (const [index, program] of this.#configuration.actors(prepared).entries()) {
      const seed = ACTOR_SEED + index;
      this.#actors.push(program);
      this.#locals.push(
        new LocalStates(program, (actorPerform) =>
          worldPorts(this.#vocabulary, seed, actorPerform),
        ),
      );
    }
    const { limits, excludes } = { limits: this.#limits, excludes: this.#configuration.excludes };
    const headSequence = (at: World) => checker.items.head(at, prepared.shard)?.sequence ?? 0;
    this.#rules = { roles: this.#actors.map(({ role }) => role), limits, excludes, headSequence };
    const at: LocalState[] = [];
    for (const locals of this.#locals) at.push(await locals.start());
    return { world, at, running: -1, switches: 0, faults: 0, steals: 0, ghosts: [] };
  }

  /** Explores everything within the limits. Gives the first violation, with a shortest trace where that is cheap. */
  async run(isOver: () => boolean): Promise<{ complete: boolean; found: Found | undefined }> {
    const start = await this.#begin();
    let found: Found | undefined;
    let complete = true;
    const stack: Frame[] = [];
    try {
      complete = await this.#search(start, stack, isOver);
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      const lines = [...stack.map(({ line }) => line), error.line];
      const trace = lines.flatMap((line) => (line === undefined ? [] : [line()]));
      found = { invariant: error.violation.invariant, message: error.violation.message, trace };
      complete = false;
    }
    this.totals.localStates = this.#locals.reduce((sum, { size }) => sum + size, 0);
    this.totals.realSteps = this.#locals.reduce((sum, { realSteps }) => sum + realSteps, 0);
    if (found !== undefined) found = (await this.#shortest(start, found)) ?? found;
    return { complete, found };
  }

  async #search(start: State, stack: Frame[], isOver: () => boolean): Promise<boolean> {
    const seen = new FingerprintSet();
    const { totals } = this;
    const rules = this.#rules as Rules;
    seen.add(fingerprintOf(start).low, fingerprintOf(start).high, 0);
    stack.push({ state: start, moves: movesOf(start, rules), line: undefined, next: 0 });
    while (stack.length > 0) {
      const frame = stack.at(-1) as Frame;
      const move = frame.moves[frame.next];
      if (move === undefined) {
        if (frame.moves.length === 0) this.#end(frame.state);
        stack.pop();
        continue;
      }
      frame.next += 1;
      const outcome = carryOut(frame.state, move, this.#leases);
      if (outcome === undefined) continue;
      totals.transitions += 1;
      if (totals.transitions % CLOCK_EVERY === 0 && isOver()) return false;
      const line = () => lineOf(this.#actors, frame.state, move, outcome);
      const arrived = this.#take(frame.state, move, outcome, line);
      const next = arrived instanceof Promise ? await arrived : arrived;
      const { low, high } = fingerprintOf(next);
      const news = seen.add(low, high, Math.min(200, next.switches));
      if (news === "seen") {
        totals.pruned += 1;
        continue;
      }
      totals.states = seen.size;
      await this.#settleIfNew(next, line);
      stack.push({ state: next, moves: movesOf(next, rules), line, next: 0 });
      totals.deepest = Math.max(totals.deepest, stack.length - 1);
    }
    return true;
  }

  #end({ world }: State): void {
    this.totals.executions += 1;
    if (this.#limits.endings === true) this.endings.add(sha256Of(this.#vocabulary.describe(world)));
  }

  /** Takes a move, with all checks. A promise only where an actor's code must really run. */
  #take(state: State, move: Move, outcome: Outcome, line: () => string): State | Promise<State> {
    const world = this.#observe(state, move, outcome, line);
    const { answer, value } = outcome;
    if (answer === undefined) return stateAfter(state, move, world, undefined, this.#limits);
    const locals = this.#locals[move.actor] as LocalStates;
    const local = locals.next(state.at[move.actor] as LocalState, { answer, value });
    const arrive = (at: LocalState) => this.#arrive(state, move, world, at, line);
    return local instanceof Promise ? local.then(arrive) : arrive(local);
  }

  #observe(state: State, move: Move, outcome: Outcome, line: () => string): World {
    const checker = this.#checker as Checker;
    const { call, world } = outcome;
    if (world === state.world) return world;
    const { name } = this.#actors[move.actor] as Program;
    return this.#guarded(line, () => {
      checker.observe(state.world, world, call, name);
      if (call.detail.kind !== "commit") return world;
      this.#configuration.onCommit?.(checker, state.world, world);
      // The log's stream tells of each new run.
      return checker.hints.hinted(world, checker.shard);
    });
  }

  #arrive(state: State, move: Move, world: World, at: LocalState, line: () => string): State {
    const next = stateAfter(state, move, world, at, this.#limits);
    const { end } = at;
    const { name, role, target } = this.#actors[move.actor] as Program;
    if (end === undefined) return next;
    this.#guarded(line, () => {
      const claimant = { name, role, target, state: at, end };
      checkEnd(this.#checker as Checker, this.#vocabulary, world, claimant);
      this.#checkHinted(next);
    });
    return next;
  }

  /** F59: when all went well and all have ended, somebody is told of what is pending. */
  #checkHinted({ world, at, faults, steals }: State): void {
    if (faults > 0 || steals > 0 || at.some(({ call }) => call !== undefined)) return;
    const checker = this.#checker as Checker;
    const head = checker.items.head(world, checker.shard);
    const isBehind = (head?.sequence ?? 0) > checker.pointerIn(world).appliedThrough;
    if (!isBehind || checker.hints.isHinted(world, checker.shard)) return;
    throw new Violation("I7", "runs are pending, and nobody will ever be told (F59)");
  }

  #guarded<T>(line: () => string, check: () => T): T {
    try {
      return check();
    } catch (error) {
      throw error instanceof Violation ? new Broken(error, line) : error;
    }
  }

  async #settleIfNew({ world }: State, line: () => string): Promise<void> {
    if (this.#worlds.add(world.low, world.high, 0) !== "new") return;
    this.totals.worlds = this.#worlds.size;
    const { settleOneIn = 1 } = this.#limits;
    if ((world.high >>> 0) % settleOneIn !== 0) return;
    this.totals.settled += 1;
    try {
      await settle(this.#vocabulary, this.#checker as Checker, this.#prepared as Prepared, world);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      throw new Broken(error, () => `${line()}\n  and then all die; who comes after:`);
    }
  }

  /** Breadth first, to the same violation by the fewest steps. */
  async #shortest(start: State, found: Found): Promise<Found | undefined> {
    type Step = {
      readonly state: State;
      readonly before: Step | undefined;
      readonly line?: () => string;
    };
    const rules = this.#rules as Rules;
    const seen = new FingerprintSet();
    this.#worlds = new FingerprintSet();
    let layer: Step[] = [{ state: start, before: undefined }];
    const traceTo = (step: Step, last: (() => string) | undefined) => {
      const lines = last === undefined ? [] : [last()];
      for (let at: Step | undefined = step; at?.line !== undefined; at = at.before) {
        lines.unshift(at.line());
      }
      return lines;
    };
    for (let depth = 0; depth < found.trace.length && layer.length > 0; depth++) {
      const next: Step[] = [];
      for (const step of layer) {
        for (const move of movesOf(step.state, rules)) {
          const outcome = carryOut(step.state, move, this.#leases);
          if (outcome === undefined) continue;
          const line = () => lineOf(this.#actors, step.state, move, outcome);
          try {
            const state = await this.#take(step.state, move, outcome, line);
            const { low, high } = fingerprintOf(state);
            if (seen.add(low, high, Math.min(200, state.switches)) === "seen") continue;
            await this.#settleIfNew(state, line);
            next.push({ state, before: step, line });
          } catch (error) {
            if (!(error instanceof Broken)) throw error;
            const { invariant, message } = error.violation;
            return { invariant, message, trace: traceTo(step, error.line) };
          }
          if (seen.size > SHORTEST_STATES_MAX) return undefined;
        }
      }
      layer = next;
    }
    return undefined;
  }
}
