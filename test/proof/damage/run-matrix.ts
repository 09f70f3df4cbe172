/** All cases of all kinds, one after the other, and what they add up to. */
import { createSeededRandom } from "@silt/testkit";
import { CollectionReader, SegmentCache } from "../../../packages/reader/src/index.ts";
import { DAMAGES, type Damage, type DamageCase, type DamagedKind } from "./damage-case.ts";
import { buildDamageWorld, type DamageWorld } from "./damage-world.ts";
import { besideKinds, cacheKinds } from "./local-kinds.ts";
import { logKinds } from "./log-kinds.ts";
import { type Observation, observeCase, warmCacheOf } from "./observe-case.ts";
import { createRestorePoint, type RestorePoint } from "./restore-point.ts";
import { storeKinds } from "./store-kinds.ts";

/** What cases of one kind, or of one cell, add up to. */
export interface Tally {
  total: number;
  found: number;
  named: number;
  harmless: number;
  /** Not found, by a reason that is known. */
  unseen: number;
  wrong: number;
  /** Cases in which the other collection went on, of those in which it was asked. */
  rest: number;
  restAsked: number;
  /** Found by a notice alone, or by a refusal to open. */
  notices: number;
  refusals: number;
}

export interface KindResult {
  readonly kind: DamagedKind;
  readonly cells: ReadonlyMap<Damage, Tally>;
  readonly sum: Tally;
}

export interface Failure {
  readonly kind: string;
  readonly damage: Damage;
  readonly where: string;
  readonly what: string;
}

export interface Matrix {
  readonly seed: number;
  readonly places: number;
  readonly kinds: readonly KindResult[];
  readonly failures: readonly Failure[];
  readonly ms: number;
}

export interface MatrixOptions {
  readonly seed: number;
  /** Random bits for each kind. */
  readonly places: number;
  /** Of the other cases only the first and every so many-th of a damage is tried. Default: all. */
  readonly everyAimed?: number;
  /** After any damage no more is looked at than after a random bit: where each request takes its time. */
  readonly brief?: boolean;
  /** Only kinds whose name this matches. */
  readonly only?: RegExp;
  readonly onProgress?: (kind: string, done: number, total: number) => void;
}

/** Random bits after which a compaction is looked at: one in so many. */
const COMPACTION_EVERY = 2;
/** Random bits after which the rest of the store is asked too: one in so many. */
const REST_EVERY = 5;

const noTally = (): Tally => ({
  total: 0,
  found: 0,
  named: 0,
  harmless: 0,
  unseen: 0,
  wrong: 0,
  rest: 0,
  restAsked: 0,
  notices: 0,
  refusals: 0,
});

/** Builds a store, damages it in every way, and gives what was seen. */
export async function runMatrix(options: MatrixOptions): Promise<Matrix> {
  await using world = await buildDamageWorld(options.seed);
  await fillWarmCache(world);
  const store = createRestorePoint(world.root);
  const warm = createRestorePoint(warmCacheOf(world));
  const beside = await besideKinds(world);
  const points = [store, warm, createRestorePoint(beside.folder)];
  const all = [
    ...storeKinds(world, store),
    ...logKinds(world),
    ...cacheKinds(world, warm),
    ...beside.kinds,
  ];
  return await runKinds({ world, points, options }, all);
}

/** Damages each of the kinds in every way. */
export async function runKinds(
  running: Omit<Running, "failures">,
  all: readonly DamagedKind[],
): Promise<Matrix> {
  const start = performance.now();
  const { seed, places, only } = running.options;
  const failures: Failure[] = [];
  const kinds: KindResult[] = [];
  for (const kind of all) {
    if (only !== undefined && !only.test(kind.name)) continue;
    kinds.push(await runKind({ ...running, failures }, kind));
  }
  return { seed, places, kinds, failures, ms: performance.now() - start };
}

export async function fillWarmCache(world: DamageWorld): Promise<void> {
  await using ports = await world.open();
  const cache = new SegmentCache({ folder: warmCacheOf(world), logger: { log() {} } });
  using reader = new CollectionReader(ports, world.lines.identity, { cache });
  await reader.records({});
}

export interface Running {
  readonly world: DamageWorld;
  readonly points: readonly Pick<RestorePoint, "restore">[];
  readonly options: MatrixOptions;
  readonly failures: Failure[];
}

async function runKind(running: Running, kind: DamagedKind): Promise<KindResult> {
  const { world, points, options, failures } = running;
  const { seed, places, everyAimed = 1, brief = false, onProgress } = options;
  for (const point of points) await point.restore();
  const cases = sample(kind.cases(createSeededRandom(seed), places), everyAimed);
  const cells = new Map(DAMAGES.map((damage) => [damage, noTally()]));
  const sum = noTally();
  for (const [index, damaged] of cases.entries()) {
    const aimed = damaged.damage !== DAMAGES[0] && !brief;
    // A copy may lie anywhere.
    const isAnywhere =
      kind.shared === true || kind.wholeStore === true || damaged.damage === "twice";
    const thoroughness = {
      everyReader: aimed,
      compaction: aimed || index % COMPACTION_EVERY === 0,
      rest: aimed || isAnywhere || index % REST_EVERY === 0,
    };
    const seen = await (kind.observe?.(damaged) ?? observeCase(world, kind, damaged, thoroughness));
    const quiet = seen.found === undefined && seen.wrong.length === 0;
    const harmless = quiet && seen.harmless;
    const unseen = quiet && !harmless && damaged.unseen !== undefined;
    for (const point of points) await point.restore();
    for (const tally of [cells.get(damaged.damage) as Tally, sum])
      add(tally, seen, { harmless, unseen });
    const failed = failureOf(kind, seen, harmless || unseen);
    const { damage, where } = damaged;
    if (failed !== undefined) failures.push({ kind: kind.name, damage, where, what: failed });
    onProgress?.(kind.name, index + 1, cases.length);
  }
  return { kind, cells, sum };
}

/** All random bits, the first case of any other damage, and every so many-th one. */
function sample(cases: readonly DamageCase[], every: number): readonly DamageCase[] {
  const seen = new Set<Damage>();
  return cases.filter(({ damage }, index) => {
    const isFirst = !seen.has(damage);
    seen.add(damage);
    return isFirst || damage === DAMAGES[0] || index % every === 0;
  });
}

function add(
  tally: Tally,
  seen: Observation,
  { harmless, unseen }: { readonly harmless: boolean; readonly unseen: boolean },
): void {
  tally.total += 1;
  if (unseen) tally.unseen += 1;
  if (harmless) tally.harmless += 1;
  if (seen.found !== undefined) tally.found += 1;
  if (seen.named) tally.named += 1;
  if (seen.wrong.length > 0) tally.wrong += 1;
  if (seen.rest === "goes on") tally.rest += 1;
  if (seen.rest !== "not asked") tally.restAsked += 1;
  if (seen.found === "notice") tally.notices += 1;
  if (seen.found === "refused") tally.refusals += 1;
}

function failureOf(
  { shared }: DamagedKind,
  { found, named, wrong, said, rest }: Observation,
  mayBeQuiet: boolean,
): string | undefined {
  if (wrong.length > 0) return wrong.slice(0, 3).join("; ");
  if (rest === "stopped" && shared !== true) return "the other collection does not go on";
  if (mayBeQuiet) return undefined;
  if (found === undefined) return "not found";
  return named ? undefined : `not named: ${said.slice(0, 3).join("; ")}`;
}
