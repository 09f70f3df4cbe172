/** One schedule while it runs: the shared stores, the actors, what happens to them, and who watches. */
import {
  type CollectionIdentity,
  type Hint,
  type HintQueue,
  type LeaseStore,
  type LogTransaction,
  type RunLog,
  type SegmentContent,
  type SegmentEngine,
  type ShardRef,
  shardPartition,
  shardRefs,
} from "@silt/core";
import { createMemoryLeaseStore } from "../memory-lease-store.ts";
import { createMemoryObjectStore, type MemoryObjectStore } from "../memory-object-store.ts";
import { createMemoryRunLog } from "../memory-run-log.ts";
import { createSeededRandom, type SeededRandom } from "../seeded-random.ts";
import type { Actor, Role } from "./actor.ts";
import { Checker } from "./checker/checker.ts";
import { type CallFault, type FaultRates, NO_FAULTS, pickFault } from "./faults.ts";
import type { Cuts, SchedulePlan } from "./schedule-plan.ts";
import { Scheduler } from "./scheduler.ts";
import type { SimulatedEngine } from "./simulated-engine.ts";
import { drawDelay, simulatedPorts } from "./simulated-ports.ts";
import { Sources } from "./sources.ts";
import type { Totals } from "./totals.ts";
import { Trace } from "./trace.ts";
import { Weather } from "./weather.ts";

/** What an actor does from its start to its end, or to its crash. */
export type Body = (sim: Simulation, actor: Actor) => Promise<void>;

export interface SimulationOptions {
  readonly plan: SchedulePlan;
  readonly cuts: Cuts;
  readonly engine: SimulatedEngine;
  readonly tells: boolean;
}

const START_MS = Date.UTC(2026, 0, 1);
const SLEEP_AGAIN_CHANCE = 0.7;
const CRITICAL_FACTOR = 8;
const RESTART_MS_MAX = 60_000;

export class Simulation {
  readonly plan: SchedulePlan;
  readonly scheduler: Scheduler;
  readonly objects: MemoryObjectStore;
  readonly log: RunLog = createMemoryRunLog();
  readonly leases: LeaseStore;
  readonly engine: SegmentEngine;
  readonly checker: Checker;
  readonly weather: Weather;
  readonly trace: Trace;
  readonly totals: Totals = {};
  readonly actors: Actor[] = [];
  readonly sources: Sources;
  readonly identities: CollectionIdentity[] = [];
  readonly shards: ShardRef[] = [];
  /** What the lease adapter takes for now: the clock of whoever asks. */
  leaseClockMs = START_MS;
  /** The first thing that went wrong. */
  failure: unknown;
  rates: FaultRates;
  faults = 0;
  readonly #random: SeededRandom;
  readonly #sky: SeededRandom;
  readonly #hints: { readonly hint: Hint; readonly dueMs: number }[] = [];
  readonly #cutFaults: ReadonlySet<number>;
  readonly #bodies = new Map<Actor, Body>();
  readonly #waiting = new Map<Actor, () => void>();
  readonly #caches = new Map<Actor, Map<string, Uint8Array>>();
  readonly #engine: SimulatedEngine;

  constructor({ plan, cuts, engine, tells }: SimulationOptions) {
    this.plan = plan;
    this.rates = plan.rates;
    this.#random = createSeededRandom(Math.imul(plan.seed ^ 0x51a7, 0x85ebca6b));
    this.#sky = this.#random.fork();
    const { personality, stepMsMax, changeChance } = plan;
    const stay = cuts.stay && new Set(cuts.stay.flatMap(([from, to]) => range(from, to)));
    const random = this.#random.fork();
    this.scheduler = new Scheduler(START_MS, {
      personality,
      random,
      stepMsMax,
      changeChance,
      stay,
    });
    const clock = (nowMs: () => number) => ({
      nowMs,
      sleep: () => Promise.resolve(),
      every: () => () => {},
    });
    this.objects = createMemoryObjectStore(clock(() => this.scheduler.nowMs));
    this.leases = createMemoryLeaseStore(clock(() => this.leaseClockMs));
    this.engine = engine;
    this.#engine = engine;
    this.trace = new Trace(tells);
    this.checker = new Checker(this, engine);
    this.sources = new Sources(this);
    this.weather = new Weather(this, this.#random.fork());
    this.#cutFaults = new Set(cuts.faults);
  }

  addActor(role: Role, name: string, operations: number, body: Body): void {
    // By its name, so that leaving out one actor changes nothing that another is given.
    const own = createSeededRandom(this.plan.seed ^ hashOfName(name));
    const random = own.fork();
    const entropy = own.fork();
    const fate = own.fork();
    const actor = {
      index: this.actors.length,
      role,
      name,
      random,
      fate,
      life: 0,
      state: "down" as const,
      pausedUntilMs: 0,
      clockOffsetMs: Math.floor((random.fraction() * 2 - 1) * this.plan.clockSkewMs),
      priority: random.fraction(),
      operationsLeft: operations,
      callsEver: 0,
      attempts: new Set<string>(),
      calls: 0,
      bytes: 0,
      faultsMet: 0,
    };
    const whole: Actor = Object.assign(actor, { ports: undefined as never });
    Object.assign(whole, { ports: simulatedPorts(this, whole, entropy) });
    this.actors.push(whole);
    this.#bodies.set(whole, body);
    this.start(whole);
  }

  start(actor: Actor): void {
    actor.state = "running";
    const { life } = actor;
    const body = this.#bodies.get(actor) as Body;
    this.scheduler.push(actor, () => {
      body(this, actor).then(
        () => {
          if (actor.life === life) actor.state = "done";
        },
        (error: unknown) => this.fail(error),
      );
    });
  }

  /** The process is gone: none of its promises ever settles again. It comes back after a while. */
  crash(actor: Actor): void {
    this.count("crashes");
    actor.life += 1;
    actor.state = "down";
    actor.pausedUntilMs = 0;
    this.#waiting.delete(actor);
    this.checker.deletes(actor, undefined);
    this.tell(() => `${actor.name} crashes`);
    for (const land of this.scheduler.forget(actor)) {
      if (actor.fate.chance(0.5)) continue;
      this.scheduler.after(drawDelay(actor.fate), undefined, land);
    }
    this.scheduler.after(actor.fate.int(RESTART_MS_MAX), actor, () => this.start(actor));
  }

  /** Lets the checker look; what it finds ends the schedule, whatever the actor would make of it. */
  watch<T>(look: () => T): T | undefined {
    try {
      return look();
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  /** The process stands still for a while, maybe for hours. */
  pause(actor: Actor): void {
    actor.pausedUntilMs = this.scheduler.nowMs + drawDelay(actor.fate);
  }

  fail(error: unknown): void {
    this.failure ??= error;
  }

  /** Runs an effect; a real engine's I/O holds the scheduler until it is done. */
  perform<T>(effect: () => Promise<T>): Promise<T> {
    const done = effect();
    const { external } = this.scheduler;
    external.add(done);
    const settled = () => void external.delete(done);
    done.then(settled, settled);
    return done;
  }

  clockOf(actor: Actor): number {
    return this.scheduler.nowMs + actor.clockOffsetMs;
  }

  /** The fault that a call meets, if any; what commits something meets more of them. */
  callFault(actor: Actor, mutates: boolean, critical = false): CallFault | undefined {
    const dice = actor.fate.fraction();
    let kind = pickFault(this.rates.call, critical ? dice / CRITICAL_FACTOR : dice);
    if (kind === undefined) return undefined;
    // A read that lands late or twice is nothing but a read.
    if (!mutates && (kind === "late-request" || kind === "sdk-retry")) kind = "lost-answer";
    if (!this.#happens(kind)) return undefined;
    actor.faultsMet += 1;
    return kind;
  }

  /** How long an actor sleeps before this call, by the plan of the seed; 0 = not at all. */
  sleepBefore(actor: Actor, doing: string): number {
    actor.callsEver += 1;
    if (this.rates === NO_FAULTS) return 0;
    const sleep = this.plan.sleeps.find(({ who, call, before }) => {
      if (who !== undefined && who !== actor.name && who !== actor.role) return false;
      return before === undefined ? call === actor.callsEver : before === doing;
    });
    if (
      sleep === undefined ||
      (sleep.before !== undefined && !actor.fate.chance(SLEEP_AGAIN_CHANCE))
    )
      return 0;
    this.count("long sleeps");
    return sleep.ms;
  }

  /** Before each step: what happens to the world. */
  beforeStep(): void {
    const dice = this.#sky.fraction();
    const kind = pickFault(this.rates.weather, dice);
    if (kind === undefined || this.faults >= this.plan.faultsMax) return;
    if (this.#cutFaults.has(this.faults + 1)) this.faults += 1;
    else if (this.weather.strike(kind)) this.#happens(kind);
  }

  #happens(kind: string): boolean {
    if (this.faults >= this.plan.faultsMax) return false;
    this.faults += 1;
    if (this.#cutFaults.has(this.faults)) return false;
    this.count(kind);
    this.trace.mix(kind);
    return true;
  }

  /** The stream of a log tells of new runs: a hint each. */
  committed(actor: Actor, transaction: LogTransaction): void {
    this.checker.committed(actor, transaction);
    for (const { shard } of transaction.appends) this.sendHint(shard);
  }

  sendHint(hint: Hint): void {
    const random = this.#sky;
    const kind = pickFault(this.rates.hint, random.fraction());
    const happens = kind !== undefined && this.#happens(kind);
    if (happens && kind === "hint-lost") return;
    const soon = random.int(2_000) * this.plan.pauseScale;
    this.#queue(hint, happens && kind === "hint-late" ? drawDelay(random) : soon);
    if (happens && kind === "hint-doubled") this.#queue(hint, drawDelay(random));
  }

  #queue(hint: Hint, delayMs: number): void {
    // A hint that waits already says the same.
    const name = shardPartition(hint);
    const dueMs = this.scheduler.nowMs + delayMs;
    if (this.#hints.some((one) => one.dueMs <= dueMs && shardPartition(one.hint) === name)) return;
    this.#hints.push({ hint, dueMs });
    this.scheduler.after(delayMs, undefined, () => {
      for (const wake of this.#waiting.values()) wake();
    });
  }

  /** What an actor does between two operations: nothing, for a while that the plan scales. */
  think({ ports, random }: Actor, msMax: number): Promise<void> {
    return ports.clock.sleep(random.int(msMax) * this.plan.pauseScale);
  }

  /** Resolves when a hint is due, or after a while. */
  awaitHint(actor: Actor, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.scheduler.after(ms, actor, () => {
        this.#waiting.delete(actor);
        resolve();
      });
      this.#waiting.set(actor, () => {
        this.#waiting.delete(actor);
        cancel();
        this.scheduler.push(actor, resolve);
      });
    });
  }

  takeHints(limit: number): readonly Hint[] {
    const due = this.#hints.filter(({ dueMs }) => dueMs <= this.scheduler.nowMs);
    const taken = this.#sky.shuffle(due).slice(0, limit);
    for (const one of taken) this.#hints.splice(this.#hints.indexOf(one), 1);
    const distinct = new Map(taken.map(({ hint }) => [shardPartition(hint), hint]));
    return [...distinct.values()];
  }

  /** A run id was given up: its bundle may go. */
  abandoned(runId: string): void {
    this.count("abandoned");
    this.checker.deletions.abandoned(runId);
  }

  /** Segments on an actor's disk, by their hash; they outlive its process. */
  cacheOf(actor: Actor): Map<string, Uint8Array> {
    const cache = this.#caches.get(actor) ?? new Map();
    this.#caches.set(actor, cache);
    return cache;
  }

  /** What a segment's bytes hold. */
  contentOf(bytes: Uint8Array): Promise<SegmentContent> {
    return this.perform(async () => this.#engine.contentOf(bytes));
  }

  /** A bit flips in some cached file, or it is cut short. */
  damageCache(random: SeededRandom): boolean {
    const files = [...this.#caches.values()].flatMap((cache) =>
      [...cache].map(([sha256, bytes]) => ({ cache, sha256, bytes })),
    );
    if (files.length === 0) return false;
    const { cache, sha256, bytes } = random.pick(files);
    const at = random.int(bytes.byteLength);
    const damaged = random.chance(0.3) ? bytes.slice(0, at) : bytes.slice();
    if (at < damaged.byteLength) damaged[at] = (damaged[at] as number) ^ 1;
    cache.set(sha256, damaged);
    return true;
  }

  /** The operator puts a run's bundle back as it was. */
  restoreBundle(shard: ShardRef, sequence: number): void {
    const known = this.checker.historyOf(shard).runs[sequence - 1];
    if (known !== undefined) this.weather.restore(known.run.delta.key);
  }

  identityOf({ collection }: ShardRef): CollectionIdentity {
    const found = this.identities.find((identity) => identity.collection === collection);
    if (found === undefined) throw new Error(`No collection ${collection}`);
    return found;
  }

  /** From now on nothing goes wrong, and who is down or asleep comes back at once. */
  stopFaults(): void {
    this.rates = NO_FAULTS;
    this.weather.clear(this.plan.heals);
    this.scheduler.calm();
    this.scheduler.flushOrphans();
    for (const actor of this.actors) actor.pausedUntilMs = 0;
    this.tell(() => "faults stop");
  }

  /** Nothing goes wrong in this schedule and nobody sweeps: hints alone must wake who is needed (F59). */
  get hintsSuffice(): boolean {
    const { faultsMax, sleeps, actors } = this.plan;
    const isCalm = faultsMax === 0 && sleeps.length === 0;
    return isCalm && !actors.some(({ role }) => role === "sweeper");
  }

  addCollection(identity: CollectionIdentity): void {
    this.identities.push(identity);
    for (const shard of shardRefs(identity)) this.shards.push(shard);
  }

  count(what: string, by = 1): void {
    this.totals[what] = (this.totals[what] ?? 0) + by;
  }

  note(actor: Actor, line: () => string): void {
    this.trace.mix(actor.index);
    this.tell(() => `${actor.name}: ${line()}`);
  }

  tell(line: () => string): void {
    const { steps, nowMs } = this.scheduler;
    this.trace.tell(() => `${String(steps).padStart(5)} ${formatMs(nowMs - START_MS)} ${line()}`);
  }

  /** A key or partition without what all of them share. */
  short(key: string): string {
    return key.replace(/^collections\//, "").replace(/\/[0-9a-f]{16}\//, "/");
  }
}

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

function hashOfName(name: string): number {
  let hash = 0x811c9dc5;
  for (const letter of name) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
  return hash;
}

function formatMs(ms: number): string {
  const seconds = (ms / 1000).toFixed(3);
  return `${seconds.padStart(10)}s`;
}

/** The queue of hints as a port, for those outside the schedule. */
export const directHints = (sim: Simulation): HintQueue => ({
  send: async (hint) => sim.sendHint(hint),
  receive: async (limit) => sim.takeHints(limit),
});
