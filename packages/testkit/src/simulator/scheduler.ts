/**
 * Who goes on next, and what time it is. A step is the time between two awaits of one actor; the
 * scheduler picks each from all that are ready, by its personality and a seeded random, and lets
 * all promises settle before it picks the next. So the whole schedule follows from the seed.
 */
import type { SeededRandom } from "../seeded-random.ts";
import type { Actor } from "./actor.ts";

export const PERSONALITIES = [
  /** Any step that is ready, evenly. */
  "uniform",
  /** The actor with the highest priority, which changes at a few random steps (PCT). */
  "priority",
  /** Mostly the same actor again, so that whole operations fit between two steps of another. */
  "sticky",
  /** One step each, in turn. */
  "round-robin",
  /** The step that waits longest; only faults reorder. */
  "oldest-first",
] as const;
export type Personality = (typeof PERSONALITIES)[number];

export interface Step {
  /** Undefined: a request on its way that nobody waits for any more. */
  readonly actor: Actor | undefined;
  readonly run: () => void;
  /** What may still happen when the actor dies: its request is on its way. */
  readonly land: (() => void) | undefined;
  readonly order: number;
}

interface Timer {
  readonly actor: Actor | undefined;
  dueMs: number;
  readonly everyMs: number | undefined;
  readonly fire: () => void;
}

export interface SchedulerOptions {
  readonly personality: Personality;
  readonly random: SeededRandom;
  /** A step takes up to so long. */
  readonly stepMsMax: number;
  /** Chance that an actor's priority is drawn again at a step. */
  readonly changeChance: number;
  /** Steps at which the actor of the step before goes on if it can (found by shrinking). */
  readonly stay?: ReadonlySet<number> | undefined;
}

const CALM_STEP_MS = 5;

/** Drains all promises: a tick comes only after the queue of microtasks is empty. */
const settled = () =>
  new Promise<void>((resolve) => queueMicrotask(() => process.nextTick(resolve)));

export class Scheduler {
  nowMs: number;
  /** Steps taken so far: awaits that were continued. */
  steps = 0;
  /** Real I/O of this step; the next waits for it. */
  readonly external = new Set<Promise<unknown>>();
  #options: SchedulerOptions;
  #ready: Step[] = [];
  #timers: Timer[] = [];
  #orders = 0;
  #last: Actor | undefined;
  readonly #eligible: number[] = [];

  constructor(startMs: number, options: SchedulerOptions) {
    this.nowMs = startMs;
    this.#options = options;
  }

  /** Makes a step ready. */
  push(actor: Actor | undefined, run: () => void, land?: () => void): void {
    this.#orders += 1;
    this.#ready.push({ actor, run, land, order: this.#orders });
  }

  /** Runs `fire` as a step once `ms` have passed, or again and again. */
  after(ms: number, actor: Actor | undefined, fire: () => void, everyMs?: number): () => void {
    const timer: Timer = { actor, dueMs: this.nowMs + Math.max(0, Math.round(ms)), everyMs, fire };
    this.#timers.push(timer);
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at !== -1) this.#timers.splice(at, 1);
    };
  }

  /** A crash: nothing that an actor waits for happens. Gives its requests that are on their way. */
  forget(actor: Actor): readonly (() => void)[] {
    const requests = this.#ready.flatMap((step) =>
      step.actor === actor && step.land !== undefined ? [step.land] : [],
    );
    this.#ready = this.#ready.filter((step) => step.actor !== actor);
    this.#timers = this.#timers.filter((timer) => timer.actor !== actor);
    return requests;
  }

  /** From now on everybody is fast and gets his turn. */
  calm(): void {
    this.#options = { ...this.#options, personality: "uniform", stepMsMax: CALM_STEP_MS };
  }

  /** Requests that nobody waits for land now. */
  flushOrphans(): void {
    for (const timer of this.#timers) if (timer.actor === undefined) timer.dueMs = this.nowMs;
  }

  /** Takes steps until `done` says so; "stuck" when nothing is left that could go on. */
  async run(done: () => boolean, beforeStep: () => void): Promise<"done" | "stuck"> {
    await settled();
    while (!done()) {
      beforeStep();
      const step = this.#next();
      if (step === undefined) return "stuck";
      this.steps += 1;
      step.run();
      await settled();
      while (this.external.size > 0) {
        await Promise.allSettled(this.external);
        await settled();
      }
    }
    return "done";
  }

  #next(): Step | undefined {
    for (;;) {
      this.#fireDue();
      const index = this.#pick();
      if (index !== -1) {
        const step = this.#ready[index] as Step;
        const last = this.#ready.pop() as Step;
        if (index < this.#ready.length) this.#ready[index] = last;
        this.#last = step.actor;
        const { random, stepMsMax } = this.#options;
        this.nowMs += random.int(stepMsMax) + 1;
        return step;
      }
      const wakeMs = this.#nextWakeMs();
      if (wakeMs === undefined) return undefined;
      this.nowMs = Math.max(this.nowMs + 1, wakeMs);
    }
  }

  #fireDue(): void {
    const timers = this.#timers;
    for (let index = 0; index < timers.length; index++) {
      const timer = timers[index] as Timer;
      const { actor } = timer;
      if (timer.dueMs > this.nowMs || (actor && actor.pausedUntilMs > this.nowMs)) continue;
      this.push(actor, timer.fire);
      // A process that was frozen finds one late beat, not all that it missed.
      if (timer.everyMs !== undefined) timer.dueMs = this.nowMs + Math.max(1, timer.everyMs);
      else {
        timers.splice(index, 1);
        index -= 1;
      }
    }
  }

  #nextWakeMs(): number | undefined {
    let next: number | undefined;
    const consider = (ms: number) => {
      if (next === undefined || ms < next) next = ms;
    };
    for (const { actor, dueMs } of this.#timers) {
      consider(Math.max(dueMs, actor?.pausedUntilMs ?? 0));
    }
    for (const { actor } of this.#ready) if (actor) consider(actor.pausedUntilMs);
    return next;
  }

  /** Index of the step to take in `#ready`; -1 when none may. */
  #pick(): number {
    const ready = this.#ready;
    const eligible = this.#eligible;
    eligible.length = 0;
    for (let index = 0; index < ready.length; index++) {
      const { actor } = ready[index] as Step;
      if (actor === undefined || actor.pausedUntilMs <= this.nowMs) eligible.push(index);
    }
    if (eligible.length === 0) return -1;
    // Drawn at every step, so that a step that shrinking takes away shifts no later draw.
    const dice = this.#options.random.fraction();
    if (this.#options.stay?.has(this.steps)) return this.#stay(eligible);
    return this.#choose(eligible, dice);
  }

  #choose(eligible: readonly number[], dice: number): number {
    const { personality, random, changeChance } = this.#options;
    const any = () => eligible[Math.floor(dice * eligible.length)] as number;
    switch (personality) {
      case "uniform":
        return any();
      case "priority": {
        if (random.chance(changeChance)) {
          const { actor } = this.#ready[any()] as Step;
          if (actor !== undefined) actor.priority = random.fraction();
        }
        return this.#best(eligible, ({ actor }) => actor?.priority ?? 0.5);
      }
      case "sticky":
        return dice < changeChance ? (random.pick(eligible) as number) : this.#stay(eligible);
      case "round-robin": {
        const from = this.#last?.index ?? -1;
        return this.#best(eligible, ({ actor }) => -(((actor?.index ?? 99) - from + 99) % 100));
      }
      case "oldest-first":
        return this.#best(eligible, ({ order }) => -order);
    }
  }

  #stay(eligible: readonly number[]): number {
    const last = this.#last;
    return this.#best(eligible, ({ actor, order }) => (actor === last ? 0 : -1e9) - order);
  }

  #best(eligible: readonly number[], score: (step: Step) => number): number {
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const index of eligible) {
      const own = score(this.#ready[index] as Step);
      if (own > bestScore) [best, bestScore] = [index, own];
    }
    return best;
  }
}
