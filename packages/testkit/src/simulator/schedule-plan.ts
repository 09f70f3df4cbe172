/** What one seed stands for: who takes part, by which policies, how it is scheduled and what goes wrong. */
import { DEFAULT_POLICY, type Policy } from "@silt/core";
import { createSeededRandom, type SeededRandom } from "../seeded-random.ts";
import { ROLES, type Role } from "./actor.ts";
import { drawRates, type FaultRates, type Rates } from "./faults.ts";
import { PERSONALITIES, type Personality } from "./scheduler.ts";

/** Parts of a schedule that are left out: how a failing seed is made smaller. */
export interface Cuts {
  /** Fault kinds and roles that do not take part, and names of single actors. */
  readonly without?: readonly string[];
  /** Operations that each actor may begin at most. */
  readonly operationsMax?: number;
  /** Faults, by their number in the schedule, that do not happen. */
  readonly faults?: readonly number[];
  /** Steps at which nobody else gets his turn: ranges, both ends included. */
  readonly stay?: readonly (readonly [from: number, to: number])[];
}

export interface CollectionPlan {
  readonly name: string;
  readonly shards: number;
  readonly policy: Omit<Policy, "selfSha256">;
}

export interface ActorPlan {
  readonly role: Role;
  /** E.g. `writer-1`. */
  readonly name: string;
  /** That it may begin. */
  readonly operations: number;
}

export interface PlannedSleep {
  /** An actor or a role; everybody when there is none. */
  readonly who?: string;
  /** The number of the call, in the actor's life. */
  readonly call?: number;
  /** Or what it is about to do; then it sleeps about every second time. */
  readonly before?: string;
  readonly ms: number;
}

export interface SchedulePlan {
  readonly seed: number;
  readonly collections: readonly CollectionPlan[];
  readonly actors: readonly ActorPlan[];
  readonly theme: Theme;
  /** Calls before which an actor sleeps so long that all others get through. */
  readonly sleeps: readonly PlannedSleep[];
  readonly personality: Personality;
  readonly stepMsMax: number;
  readonly changeChance: number;
  readonly rates: FaultRates;
  /** Faults that happen at most. */
  readonly faultsMax: number;
  /** Between operations: so small that all of them meet, or so long that each has the place to itself. */
  readonly pauseScale: number;
  /** Of writes, these delete what a filter matches. */
  readonly deleteChance: number;
  /** Clocks differ by up to so much. */
  readonly clockSkewMs: number;
  /** Steps after which faults stop even if work is left. */
  readonly chaosStepsMax: number;
  /** Objects that are damaged or gone come back when faults stop. */
  readonly heals: boolean;
}

/**
 * What a schedule is about. Rare meetings need both who meet, often, and little else: a collector and a
 * rollback; two events about one source; a compactor whose answer is lost and its successor.
 */
export const THEMES = [
  "mixed",
  "mixed",
  /** Rollbacks, pins and collectors. */
  "history",
  /** Several ingesters of the same sources. */
  "ingest",
  /** Compactors and lost answers. */
  "races",
  /** Damaged bundles and sick machines. */
  "poison",
  /** Deletes by filter and retries while runs are excluded and rolled back. */
  "decisions",
] as const;
export type Theme = (typeof THEMES)[number];

const THEME_CAST: Readonly<Record<Theme, Partial<typeof CAST>>> = {
  mixed: {},
  history: { collector: [1, 2, 1], operator: [1, 2, 1], ingester: [1, 1, 0], reader: [1, 1, 0.3] },
  ingest: { ingester: [2, 2, 1], writer: [1, 1, 1], collector: [1, 1, 0.2], operator: [1, 1, 0.2] },
  races: { compactor: [2, 3, 1], collector: [1, 1, 0.2], reader: [1, 1, 0.2], operator: [1, 1, 0] },
  decisions: {
    writer: [2, 3, 1],
    operator: [2, 2, 1],
    collector: [1, 1, 0],
    ingester: [1, 1, 0],
    reader: [1, 1, 0],
  },
  poison: { operator: [1, 1, 1], collector: [1, 1, 0.3], ingester: [1, 1, 0], reader: [1, 1, 0.5] },
};

const hasten = (policy: CollectionPlan["policy"], theme: Theme): CollectionPlan["policy"] =>
  theme === "history" ? { ...policy, retention: HASTY_RETENTION } : policy;

/** How many of each role take part: `[least, most]`, and the chance that the role takes part at all. */
const CAST: Readonly<Record<Role, readonly [number, number, number]>> = {
  writer: [1, 3, 1],
  ingester: [1, 2, 0.3],
  compactor: [1, 2, 1],
  sweeper: [1, 1, 0.5],
  collector: [1, 2, 0.4],
  reader: [1, 2, 0.5],
  operator: [1, 1, 0.4],
};

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Policies that make much happen to little data. */
export function drawPolicy(random: SeededRandom): Omit<Policy, "selfSha256"> {
  const ttlMs = random.pick([2_100, 30_000]);
  return {
    ...DEFAULT_POLICY,
    compaction: {
      strategy: random.pick(["tiered", "tiered", "single"] as const),
      fanOut: random.pick([2, 2, 3, 16]),
      smallBytes: random.pick([0, 0, 700, 4_000]),
      rewriteRatio: random.pick([1, 2, 100]),
      tombstoneRatio: random.pick([0.2, 1, 100]),
      tombstoneAgeMs: random.pick([0, 5_000, HOUR_MS]),
      segmentsMax: random.pick([2, 3, 64]),
      runsMax: random.pick([1, 2, 3, 1_000]),
      bytesMax: random.pick([1, 1_500, 1_000_000]),
    },
    lease: { ttlMs, heartbeatMs: ttlMs / 3, skewMs: random.pick([0, 500, 2_000]) },
    retention: {
      versionsKept: random.pick([1, 1, 2, 5]),
      versionsKeptMs: random.pick([0, 0, 10_000, HOUR_MS]),
      deltasKeptMs: random.pick([0, 0, 20_000, null]),
      graceMs: random.pick([0, 1_000, MINUTE_MS, HOUR_MS]),
    },
  };
}

/** Old versions go as soon as they may, so that a rollback meets the collector. */
const HASTY_RETENTION = { versionsKept: 1, versionsKeptMs: 0, deltasKeptMs: 0, graceMs: 0 };

function drawCollections(random: SeededRandom, theme: Theme): readonly CollectionPlan[] {
  const count = random.pick([1, 1, 1, 2]);
  return ["a", "b"].slice(0, count).map((name) => ({
    name,
    shards: random.pick([1, 1, 1, 2]),
    policy: hasten(drawPolicy(random), theme),
  }));
}

function drawActors(random: SeededRandom, theme: Theme): SchedulePlan["actors"] {
  return ROLES.flatMap((role) => {
    const [least, most, chance] = THEME_CAST[theme][role] ?? CAST[role];
    const takesPart = random.chance(chance);
    const count = least + random.int(most - least + 1);
    const actors = Array.from({ length: count }, (_, index) => ({
      role,
      name: `${role}-${index + 1}`,
      operations: 1 + random.int(theme === "decisions" ? 7 : 4),
    }));
    return takesPart ? actors : [];
  });
}

function cutActors(actors: SchedulePlan["actors"], cuts: Cuts): SchedulePlan["actors"] {
  const without = new Set(cuts.without ?? []);
  return actors
    .filter(({ role, name }) => !without.has(role) && !without.has(name))
    .map(({ operations, ...actor }) => ({
      ...actor,
      operations: Math.min(operations, cuts.operationsMax ?? operations),
    }));
}

/** What a theme is about goes wrong often, whatever else does. */
const THEME_WEATHER: Readonly<Partial<Record<Theme, FaultRates["weather"]>>> = {
  decisions: [["damaged", 0.01]],
  poison: [
    ["damaged", 0.015],
    ["garbled", 0.008],
  ],
};
const THEME_CALL: Readonly<Partial<Record<Theme, FaultRates["call"]>>> = {
  races: [
    ["lost-answer", 0.01],
    ["late-request", 0.005],
    ["sdk-retry", 0.005],
  ],
};

function drawThemeRates(
  random: SeededRandom,
  theme: Theme,
  without: ReadonlySet<string>,
): FaultRates {
  const rates = drawRates(random, without);
  const extend = <Kind extends string>(own: Rates<Kind> = [], drawn: Rates<Kind>): Rates<Kind> => [
    ...own.filter(([kind]) => !without.has(kind)),
    ...drawn.filter(([kind]) => !own.some(([other]) => other === kind)),
  ];
  return {
    ...rates,
    call: extend(THEME_CALL[theme], rates.call),
    weather: extend(THEME_WEATHER[theme], rates.weather),
  };
}

const FAULTS_MAX = 40;
const SLEEPS_MAX = 2;
/** Within the first operations of an actor. */
const SLEEP_CALL_MAX = 70;
const THEME_SLEEP_CHANCE = 0.8;

/** Where rare meetings begin: whoever stands still here lets others see, or undo, what he relies on. */
const THEME_SLEEPS: Readonly<Record<Theme, readonly Omit<PlannedSleep, "ms">[]>> = {
  mixed: [],
  history: [
    { who: "collector", before: "retireVersion" },
    { who: "operator", before: "flip" },
    { who: "operator", before: "unpinVersion" },
  ],
  ingest: [
    { who: "ingester", before: "readSource" },
    { who: "ingester", before: "commit" },
  ],
  races: [{ before: "flip" }, { before: "raiseApplied" }],
  poison: [{ before: "flip" }, { before: "resolveExclusion" }],
  decisions: [{ before: "flip" }, { before: "resolveExclusion" }, { before: "commit" }],
};

function drawSleeps(
  random: SeededRandom,
  theme: Theme,
  actors: SchedulePlan["actors"],
): SchedulePlan["sleeps"] {
  const anywhere = Array.from({ length: random.int(SLEEPS_MAX + 1) }, () => ({
    who: random.pick(actors).name,
    call: 1 + random.int(SLEEP_CALL_MAX),
    ms: random.pick([3_000, 45_000, HOUR_MS, 26 * HOUR_MS]),
  }));
  const themed = THEME_SLEEPS[theme].flatMap((sleep) => {
    const ms = random.pick([100, 400, 1_500, 6_000, 45_000]);
    return random.chance(THEME_SLEEP_CHANCE) ? [{ ...sleep, ms }] : [];
  });
  return [...anywhere, ...themed];
}

/** The plan of a seed: the same for ever, unless this file changes. */
export function planSchedule(seed: number, cuts: Cuts = {}): SchedulePlan {
  // Neighbouring seeds of the generator are unlike only after mixing.
  const random = createSeededRandom(Math.imul(seed ^ 0x5117, 0x9e3779b1));
  const without = new Set(cuts.without ?? []);
  const theme = random.pick(THEMES);
  const collections = drawCollections(random.fork(), theme);
  const rates = drawThemeRates(random.fork(), theme, without);
  const actors = drawActors(random.fork(), theme);
  return {
    seed,
    collections,
    theme,
    actors: cutActors(actors, cuts),
    sleeps: drawSleeps(random.fork(), theme, actors),
    personality: random.pick(PERSONALITIES),
    stepMsMax: random.pick([1, 10, 10, 200]),
    changeChance: random.pick([0.01, 0.05, 0.2]),
    rates,
    faultsMax: theme === "poison" ? FAULTS_MAX : random.pick([0, 3, 10, FAULTS_MAX]),
    pauseScale: theme === "decisions" ? 0.3 : random.pick([0.01, 0.1, 1]),
    deleteChance: theme === "decisions" ? 0.5 : 0.15,
    clockSkewMs: random.pick([0, 0, 1_000, 30_000]),
    chaosStepsMax: 800,
    heals: random.chance(0.85),
  };
}
