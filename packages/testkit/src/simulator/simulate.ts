/**
 * One schedule from its seed: the collections are created, actors work while things go wrong, faults
 * stop, and everything must settle. The checker watches all the time.
 */
import {
  ensureCollection,
  type Ports,
  pointerKey,
  shardPrefix,
  shardRefs,
  updatePolicy,
} from "@silt/core";
import { silentLogger, silentMetrics } from "../memory-ports.ts";
import { createSeededRandom } from "../seeded-random.ts";
import type { Role } from "./actor.ts";
import { collect, collector } from "./actors/collector.ts";
import { compactor } from "./actors/compactor.ts";
import { FAMILY, ingest, ingester, SOURCES, shardOf } from "./actors/ingester.ts";
import { operator } from "./actors/operator.ts";
import { reader } from "./actors/reader.ts";
import { lateSweeper, sweeper } from "./actors/sweeper.ts";
import { writer } from "./actors/writer.ts";
import { type Cuts, planSchedule, type SchedulePlan } from "./schedule-plan.ts";
import { createFoldEngine, type SimulatedEngine } from "./simulated-engine.ts";
import { type Body, directHints, Simulation } from "./simulation.ts";
import type { Totals } from "./totals.ts";
import { demand, Violation } from "./violation.ts";

export interface SimulateOptions {
  readonly cuts?: Cuts | undefined;
  /** Keep the story of the schedule. */
  readonly trace?: boolean | undefined;
  /** Default: the fold instead of SQLite. */
  readonly engine?: SimulatedEngine | undefined;
}

export interface SimulationResult {
  readonly seed: number;
  readonly plan: SchedulePlan;
  /** What was broken, if anything was. */
  readonly violation:
    | { readonly invariant: string; readonly message: string; readonly stack: string }
    | undefined;
  /** Equal for equal schedules. */
  readonly hash: string;
  readonly steps: number;
  readonly faults: number;
  readonly virtualMs: number;
  readonly totals: Totals;
  readonly trace: readonly string[];
}

/** A schedule that is shorter than this tests nothing. */
export const AWAITS_MIN = 200;
export const FLIPS_MIN = 3;
const SETTLE_STEPS_MAX = 12_000;

const BODIES: Readonly<Partial<Record<Role, Body>>> = {
  writer,
  compactor,
  sweeper,
  collector,
  reader,
  operator,
  ingester,
};

/** Runs the schedule of a seed. Never throws for what the schedule finds. */
export async function simulate(
  seed: number,
  options: SimulateOptions = {},
): Promise<SimulationResult> {
  const { cuts = {}, trace = false, engine = createFoldEngine() } = options;
  const plan = planSchedule(seed, cuts);
  const sim = new Simulation({ plan, cuts, engine, tells: trace });
  const startMs = sim.scheduler.nowMs;
  try {
    await createCollections(sim);
    startActors(sim);
    await runChaos(sim);
    await settle(sim);
    await ingestAll(sim);
    await collectAll(sim);
  } catch (error) {
    sim.fail(error);
  }
  const { steps, nowMs } = sim.scheduler;
  return {
    seed,
    plan,
    violation: describe(sim.failure),
    hash: sim.trace.hash,
    steps,
    faults: sim.faults,
    virtualMs: nowMs - startMs,
    totals: sim.totals,
    trace: sim.trace.lines,
  };
}

function describe(failure: unknown): SimulationResult["violation"] {
  if (failure === undefined) return undefined;
  const error = failure instanceof Error ? failure : new Error(String(failure));
  const invariant = error instanceof Violation ? error.invariant : "BUG";
  return { invariant, message: error.message, stack: error.stack ?? "" };
}

/** Collections come into being before anything goes wrong. */
async function createCollections(sim: Simulation): Promise<void> {
  const ports: Ports = {
    objects: sim.objects,
    log: sim.log,
    leases: sim.leases,
    hints: directHints(sim),
    engine: sim.engine,
    clock: { nowMs: () => sim.scheduler.nowMs, sleep: async () => {}, every: () => () => {} },
    random: createSeededRandom(sim.plan.seed),
    logger: silentLogger,
    metrics: silentMetrics,
  };
  for (const { name, shards, policy } of sim.plan.collections) {
    const { identity } = await ensureCollection(ports, name, { dimension: 2, shards });
    await updatePolicy(ports, name, (old) => ({ ...old, ...policy }));
    sim.addCollection(identity);
    sim.checker.deletions.policyChanges(policy.retention);
    for (const shard of shardRefs(identity)) await sim.checker.watch(shard, pointerKey(shard));
  }
}

function startActors(sim: Simulation): void {
  for (const { role, name, operations } of sim.plan.actors) {
    const body = BODIES[role];
    if (body !== undefined) sim.addActor(role, name, operations, body);
  }
}

const ENDLESS: ReadonlySet<Role> = new Set(["compactor", "sweeper"]);

const workIsDone = (sim: Simulation) =>
  sim.actors.every(({ role, state }) => ENDLESS.has(role) || state === "done");

async function runChaos(sim: Simulation): Promise<void> {
  const { chaosStepsMax } = sim.plan;
  const over = () =>
    sim.failure !== undefined || sim.scheduler.steps >= chaosStepsMax || workIsDone(sim);
  await sim.scheduler.run(over, () => sim.beforeStep());
}

/** I7: with faults switched off everything pending is applied, in a bounded number of steps. */
async function settle(sim: Simulation): Promise<void> {
  sim.stopFaults();
  if (!sim.hintsSuffice) sim.addActor("sweeper", "late-sweeper", 0, lateSweeper);
  const until = sim.scheduler.steps + SETTLE_STEPS_MAX;
  const writers = sim.actors.filter(({ role }) => role === "writer");
  const quiet = () => {
    if (sim.failure !== undefined || sim.scheduler.steps >= until) return true;
    // Whoever waits for what is damaged would wait for ever.
    const isLate = sim.scheduler.steps > until - SETTLE_STEPS_MAX / 2;
    if (isLate && sim.weather.hurt.size > 0) sim.weather.clear(true);
    if (!workIsDone(sim) || !isSettled(sim)) return false;
    const enough = (sim.totals.flips ?? 0) >= FLIPS_MIN && sim.scheduler.steps >= AWAITS_MIN;
    if (enough) return true;
    // A shard that stands still for what is damaged has tested little: its operator finds a backup.
    if (sim.weather.hurt.size > 0) sim.weather.clear(true);
    const [first] = writers;
    if (first === undefined) return true;
    first.operationsLeft += 1;
    sim.start(first);
    return false;
  };
  let checkAt = 0;
  const done = () => {
    // Settled or not is looked up now and then; a failure ends at once.
    if (sim.failure !== undefined) return true;
    if (sim.scheduler.steps < checkAt) return false;
    checkAt = sim.scheduler.steps + 10;
    return quiet();
  };
  const ended = await sim.scheduler.run(done, () => {});
  if (sim.failure !== undefined) return;
  if (ended === "stuck") throw new Violation("I7", "nobody can go on, though work is left");
  if (!isSettled(sim))
    throw new Violation(
      "I7",
      `not settled ${SETTLE_STEPS_MAX} steps after the last fault: ${unsettled(sim)}`,
    );
}

function isSettled(sim: Simulation): boolean {
  return unsettled(sim) === undefined;
}

/** What is still left to do, in words. */
function unsettled(sim: Simulation): string | undefined {
  for (const history of sim.checker.histories.values()) {
    const { pending, ref, announced } = history;
    const name = `${ref.collection}/${ref.shard}`;
    // What lies there damaged for good may stop its shard, until somebody restores it.
    if ([...sim.weather.hurt.keys()].some((key) => key.startsWith(shardPrefix(ref)))) continue;
    if (pending.length > 0) return `${pending.length} runs of ${name} are pending`;
    // A rollback that lost its lease tells nobody: the sweep finds what it announced.
    if (sim.hintsSuffice) continue;
    if (announced !== null) return `the exclusion of ${name} that ${announced} announced is open`;
    const [pin] = sim.checker.deletions.forgottenPins(history);
    if (pin !== undefined) return `${pin} holds a version of ${name} for nobody`;
  }
  return undefined;
}

const INGEST_ROUNDS_MAX = 4;
const INGEST_STEPS_MAX = 6_000;

/** Guards are level-triggered: one more event about each source, and the records are what the source is. */
async function ingestAll(sim: Simulation): Promise<void> {
  const takesPart = sim.actors.some(({ role }) => role === "ingester");
  if (sim.failure !== undefined || !takesPart || sim.weather.hurt.size > 0) return;
  let finished = false;
  sim.addActor("ingester", "last-ingester", 0, async (_, actor) => {
    // What was rolled back or excluded meanwhile is ingested again.
    for (let round = 1; round <= INGEST_ROUNDS_MAX; round++) {
      for (const uri of SOURCES) await ingest(sim, actor, uri);
    }
    finished = true;
  });
  const until = sim.scheduler.steps + INGEST_STEPS_MAX;
  const done = () =>
    sim.failure !== undefined || sim.scheduler.steps >= until || (finished && isSettled(sim));
  await sim.scheduler.run(done, () => {});
  if (sim.failure !== undefined) return;
  if (!finished || !isSettled(sim)) throw new Violation("I7", "ingesting does not come to an end");
  for (const uri of SOURCES) await checkSource(sim, uri);
}

/** The last state of a source won, in its guard and in every collection. */
async function checkSource(sim: Simulation, uri: string): Promise<void> {
  const guard = await sim.log.readGuard({ uri, family: FAMILY });
  const state = sim.sources.stateOf(uri);
  const digest = state?.digest ?? null;
  demand(
    (guard?.sourceDigest ?? null) === digest,
    "I7",
    () => `the guard of ${uri} is not up to date`,
  );
  for (const [index, identity] of sim.identities.entries()) {
    const { current } = sim.checker.historyOf(shardOf(identity, uri));
    const records = [...current.model.values()].filter(({ parent }) => parent === uri);
    const right =
      records.length === (state?.counts[index] ?? 0) &&
      records.every(({ document }) => document === digest);
    demand(
      right,
      "I7",
      () =>
        `${records.length} records of ${uri} in ${identity.collection} are not those of its last state`,
    );
  }
}

const DAY_MS = 24 * 3600 * 1000;
/** One pass fences what ran at the end, the next deletes it; others may get in between. */
const COLLECT_ROUNDS_MAX = 6;
const COLLECT_STEPS_MAX = 4_000;

/** I6, the other half: once nothing is retained for long, all goes that nothing needs. */
async function collectAll(sim: Simulation): Promise<void> {
  const collectors = sim.actors.filter(({ role }) => role === "collector");
  if (sim.failure !== undefined || collectors.length === 0 || sim.weather.hurt.size > 0) return;
  // Ages are judged by the clocks of those who flipped and of the collector: now they agree.
  sim.scheduler.nowMs += DAY_MS;
  for (const each of sim.actors) each.clockOffsetMs = 0;
  const retention = { versionsKept: 1, versionsKeptMs: 0, deltasKeptMs: 0, graceMs: 0 };
  sim.checker.deletions.policyChanges(retention);
  let finished = false;
  sim.addActor("collector", "last-collector", 0, async (_, actor) => {
    actor.clockOffsetMs = 0;
    for (const { collection } of sim.identities) {
      await updatePolicy(actor.ports, collection, (policy) => ({ ...policy, retention }));
    }
    const dirty = () =>
      sim.shards.filter(
        (shard) => sim.checker.deletions.leftovers(sim.checker.historyOf(shard)).length > 0,
      );
    // Somebody may flip even now, for tombstones became old.
    for (let round = 1; round <= COLLECT_ROUNDS_MAX; round++) {
      for (const shard of dirty()) await collect(sim, actor, shard, true);
    }
    finished = true;
  });
  const until = sim.scheduler.steps + COLLECT_STEPS_MAX;
  const done = () => finished || sim.failure !== undefined || sim.scheduler.steps >= until;
  await sim.scheduler.run(done, () => {});
  if (sim.failure !== undefined) return;
  if (!finished) throw new Violation("I7", "the last collector does not come to an end");
  for (const history of sim.checker.histories.values()) {
    const left = sim.checker.deletions.leftovers(history).map((key) => sim.short(key));
    if (left.length > 0)
      throw new Violation("I6", `nothing needs ${left.join(", ")}, but it stays`);
  }
}
