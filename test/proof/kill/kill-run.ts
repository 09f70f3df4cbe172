/**
 * Many kills on one store. A few seats are taken by random slots, whose processes work until they are
 * killed; every so often all are killed, the store settles, and everything is checked.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createSeededRandom, type SeededRandom } from "@silt/testkit";
import { settleAndCheck } from "./check-store.ts";
import { runCommandWrite } from "./command-write.ts";
import { KillTally } from "./kill-report.ts";
import { type Ending, Life, type LifePlan, type LifeReport } from "./life.ts";
import { SLOTS, type Slot } from "./slots.ts";
import type { World } from "./world.ts";

export interface KillRunOptions {
  /** At least so many. */
  readonly kills: number;
  /** Things that somebody must have done before it ends, however many kills that takes. */
  readonly deeds?: readonly string[];
  readonly seed: number;
  /** Ends earlier. */
  readonly minutes?: number | undefined;
  /** The longest life after its start, and about the longest sleep. Default 3,000. */
  readonly lifeMsMax?: number;
  /** How many processes are alive at the same time, beside the reader that lives on. */
  readonly seats?: number;
  /** Kills between two reckonings. */
  readonly killsBetween?: number;
  /** Also read every row with a second build of SQLite at the end. */
  readonly deep?: boolean;
  readonly onProgress?: (text: string) => void;
}

const SEATS_DEFAULT = 3;
const KILLS_BETWEEN_DEFAULT = 50;
/** This slot is alive all the time, and seldom killed. */
const LASTING = "read-lasting";
const LASTING_KILL_CHANCE = 0.2;

const START_CHANCE = 0.12;
const MOMENT_CHANCE = 0.5;
const PHASE_CHANCE = 0.6;
const SLEEP_CHANCE = 0.5;
const SLEEP_MS_MIN = 800;
/** Somebody must take over, and get far enough. */
const RELIEF_CHANCE = 0.7;
const RELIEF_MS = 2_500;
const START_MS_MAX = 500;
const COMMAND_MS_MAX = 900;
const TIMER_MS_MIN = 20;
const LIFE_MS_MAX_DEFAULT = 3_000;
const MOMENTS_MAX = 120;

/** Phases that a role passes, from its first call to its last. */
const PHASES_OF: Readonly<Record<string, readonly string[]>> = {
  write: ["build delta", "store bundle", "register", "read log", "between turns"],
  buffer: ["take", "build delta", "store bundle", "register", "give run up", "between turns"],
  ingest: ["ingest", "build delta", "store bundle", "register"],
  compact: [
    "take lease",
    "read log",
    "fetch bundle",
    "check bundle",
    "fetch segment",
    "merge",
    "store segment",
    "store manifest",
    "flip",
    "note APPLIED",
    "give lease back",
  ],
  history: ["register", "store manifest", "flip", "hold version", "let version go", "note APPLIED"],
  collect: [
    "list objects",
    "read object",
    "store plan",
    "retire version",
    "give run up",
    "delete object",
  ],
  read: ["fetch segment", "read object", "search"],
  verify: ["verify", "audit segment", "check bundle"],
  export: ["export", "fetch segment"],
};

/** How a life of this slot ends; spread over its work, not only over its time. */
function randomEnding(slot: Slot, random: SeededRandom, lifeMsMax: number): Ending {
  if (slot.role === "command") {
    return { kind: "timer", ms: Math.round(random.fraction() * COMMAND_MS_MAX) };
  }
  if (random.chance(START_CHANCE)) {
    return { kind: "start", ms: Math.round(random.fraction() * START_MS_MAX) };
  }
  if (random.chance(MOMENT_CHANCE)) {
    const phases = PHASES_OF[slot.role] ?? [];
    const inPhase = random.chance(PHASE_CHANCE) && phases.length > 0;
    const moment = inPhase
      ? { nth: 1 + random.int(6), phase: random.pick(phases) }
      : { nth: 1 + random.int(MOMENTS_MAX) };
    return { kind: "moment", moment, msMax: lifeMsMax };
  }
  // Short lives as often as long ones.
  const ms = TIMER_MS_MIN * (lifeMsMax / TIMER_MS_MIN) ** random.fraction();
  return { kind: "timer", ms: Math.round(ms) };
}

/** Where it hurts most to be away for long: others take over, and one wakes in the middle. */
const SLEEPY_PHASES: Readonly<Record<string, readonly string[]>> = {
  write: ["store bundle", "register"],
  buffer: ["store bundle", "register"],
  ingest: ["store bundle", "register"],
  compact: ["flip", "flip", "flip", "merge", "store manifest", "note APPLIED"],
  history: ["flip", "flip", "hold version", "register"],
  collect: ["store other object", "retire version", "delete object", "give run up"],
  read: ["fetch segment", "fetch bundle"],
};

function randomPlan(slot: Slot, random: SeededRandom, lifeMsMax: number): LifePlan {
  const ending = randomEnding(slot, random, lifeMsMax);
  const phases = SLEEPY_PHASES[slot.role] ?? [];
  const sleeps = ending.kind === "timer" && phases.length > 0 && random.chance(SLEEP_CHANCE);
  // Before it, rather than after.
  const moment = { nth: 1 + 2 * random.int(2), phase: sleeps ? random.pick(phases) : "" };
  return {
    slot,
    seed: random.int(2 ** 31),
    ending: sleeps ? { kind: "timer", ms: lifeMsMax } : ending,
    ...(sleeps && { sleep: { moment, ms: SLEEP_MS_MIN + random.int(lifeMsMax) } }),
  };
}

function live(world: World, plan: LifePlan, random: SeededRandom): Promise<LifeReport> {
  if (plan.slot.role === "command-write") return runCommandWrite(world, plan.slot, random);
  return new Life(world, plan).ended;
}

/** One run of kills, from the first life to the last reckoning. */
class KillRun {
  readonly tally = new KillTally();
  readonly #world: World;
  readonly #options: KillRunOptions;
  readonly #random: SeededRandom;
  readonly #seated = new Set<LifePlan>();
  readonly #startedAtMs = performance.now();
  #lasting: Life | undefined;

  constructor(world: World, options: KillRunOptions) {
    this.#world = world;
    this.#options = options;
    this.#random = createSeededRandom(options.seed);
  }

  get minutes(): number {
    return (performance.now() - this.#startedAtMs) / 60_000;
  }

  /** Whether there is nothing more to see. */
  get #isOver(): boolean {
    const { kills, deeds = [], minutes = Infinity } = this.#options;
    if (this.tally.wrong.length > 0 || this.minutes >= minutes) return true;
    return this.tally.kills >= kills && deeds.every((deed) => this.tally.hasDone(deed));
  }

  async run(): Promise<void> {
    const { killsBetween = KILLS_BETWEEN_DEFAULT, deep } = this.#options;
    while (!this.#isOver) {
      this.#lasting ??= this.#startLasting();
      await this.#kill(killsBetween);
      const isLast = this.#isOver;
      if (isLast || this.#random.chance(LASTING_KILL_CHANCE)) await this.#endLasting();
      if (this.tally.wrong.length > 0) break;
      await this.#reckon(isLast && deep === true);
    }
    await this.#endLasting();
  }

  /** All seats work, and so many of their processes are killed. */
  async #kill(kills: number): Promise<void> {
    const { seats = SEATS_DEFAULT } = this.#options;
    const until = this.tally.kills + kills;
    const isOver = () => this.#isOver || this.tally.kills >= until;
    const seat = async () => {
      const random = this.#random.fork();
      while (!isOver()) {
        const plan = this.#plan(random);
        this.#seated.add(plan);
        try {
          this.tally.add(await live(this.#world, plan, random));
        } finally {
          this.#seated.delete(plan);
        }
      }
    };
    await Promise.all(Array.from({ length: seats }, seat));
  }

  /** Any slot that is free; while a compactor sleeps often another one, that works in its place. */
  #plan(random: SeededRandom): LifePlan {
    const seated = [...this.#seated];
    const free = SLOTS.filter(({ name }) => !seated.some(({ slot }) => slot.name === name));
    const relief = free.find(({ role }) => role === "compact");
    const isNeeded = seated.some(({ sleep }) => sleep?.moment.phase === "flip");
    if (isNeeded && relief !== undefined && random.chance(RELIEF_CHANCE)) {
      const ending = { kind: "timer", ms: RELIEF_MS } as const;
      return { slot: relief, seed: random.int(2 ** 31), ending };
    }
    const weighted = free.flatMap((slot) => Array<Slot>(slot.weight).fill(slot));
    const { lifeMsMax = LIFE_MS_MAX_DEFAULT } = this.#options;
    return randomPlan(random.pick(weighted), random, lifeMsMax);
  }

  #startLasting(): Life {
    const slot = SLOTS.find(({ name }) => name === LASTING) as Slot;
    const ending = { kind: "timer", ms: 2 ** 30 } as const;
    const life = new Life(this.#world, { slot, seed: this.#random.int(2 ** 31), ending });
    void life.ended.then((report) => this.tally.add(report));
    return life;
  }

  async #endLasting(): Promise<void> {
    this.#lasting?.kill();
    await this.#lasting?.ended;
    this.#lasting = undefined;
    // Its report is added by a listener that was there before us.
    await sleep(0);
  }

  async #reckon(deep: boolean): Promise<void> {
    try {
      const reckoning = await settleAndCheck(this.#world, { deep });
      this.tally.reckonings.push(reckoning);
      const { growth, records } = reckoning;
      this.#options.onProgress?.(
        `${this.tally.kills} kills, ${this.minutes.toFixed(1)} min: ${growth.runs} runs, ` +
          `${growth.versions} versions, ${growth.objects} objects, ${records} records`,
      );
    } catch (error) {
      this.tally.wrong.push(
        error instanceof Error ? (error.stack ?? error.message) : String(error),
      );
    }
  }
}

/** Kills processes on the store of a new world, and says what it has seen. */
export async function runKills(world: World, options: KillRunOptions) {
  const run = new KillRun(world, options);
  await run.run();
  return run.tally.report(options.seed, run.minutes);
}
