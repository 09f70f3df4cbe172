/** One damage: done, looked at from every side, and undone. */
import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import {
  compactShard,
  isSiltError,
  type Logger,
  openCollection,
  type Ports,
  reasonOf,
  type VerifyReport,
  verifyStore,
} from "@silt/core";
import { CollectionReader, SegmentCache } from "../../../packages/reader/src/index.ts";
import { type DamageCase, type DamagedKind, nameMatches } from "./damage-case.ts";
import type { DamagedCollection, DamageWorld } from "./damage-world.ts";
import { harmlessOf } from "./harmless.ts";
import { NEAREST, QUERY, type TruthOptions, wrongAnswer } from "./truth.ts";

export interface Observation {
  /** What noticed it: a problem, a notice, or a refusal to open. */
  found?: "problem" | "notice" | "refused";
  named: boolean;
  /** Answers that are wrong, content that was committed wrong, failures that are no `SiltError`. */
  readonly wrong: string[];
  /** Reads and compactions of the other collection. */
  rest: "goes on" | "stopped" | "not asked";
  /** By the list of harmless damage, if nobody notices and no answer is wrong. */
  harmless: boolean;
  /** What was said, for people. */
  readonly said: string[];
}

/** The folders of caches: one that is filled before the damage, one for what starts empty. */
export const warmCacheOf = (world: DamageWorld): string => join(world.folder, "warm-cache");
const coldCacheOf = (world: DamageWorld): string => join(world.folder, "cold-cache");

/** How much of what the other collection and each reader do is looked at. */
export interface Thoroughness {
  /** Each cache, each with and without a fresh read; else two of the four. */
  readonly everyReader: boolean;
  /** What a compaction commits. */
  readonly compaction: boolean;
  /** Whether the rest of the store is verified too, and goes on. */
  readonly rest: boolean;
}

/** Applies the damage and looks; the caller restores the folders. */
export async function observeCase(
  world: DamageWorld,
  kind: DamagedKind,
  damaged: DamageCase,
  thoroughness: Thoroughness,
): Promise<Observation> {
  const seen: Observation = {
    named: false,
    wrong: [],
    rest: "not asked",
    harmless: false,
    said: [],
  };
  await damaged.apply();
  seen.harmless = harmlessOf(kind)?.holds(world, damaged) ?? false;
  const ports = await attempt(seen, "open", () => world.open());
  if ("failed" in ports) {
    refused({ world, kind, damaged, seen }, ports.failed);
    return seen;
  }
  await using _ = ports.value;
  await look({ world, kind, damaged, thoroughness, seen }, ports.value);
  return seen;
}

interface Look {
  readonly world: DamageWorld;
  readonly kind: DamagedKind;
  readonly damaged: DamageCase;
  readonly thoroughness: Thoroughness;
  readonly seen: Observation;
}

async function look(
  { world, kind, damaged, thoroughness, seen }: Look,
  ports: Ports,
): Promise<void> {
  const report = await attempt(seen, "verify", () =>
    verifyStore(ports, thoroughness.rest ? {} : { collections: [world.lines.shard.collection] }),
  );
  if ("failed" in report) refused({ world, kind, damaged, seen }, report.failed);
  else noteReport(seen, kind, damaged, world.baseline, report.value);
  const { lines, words } = world;
  const truth = earlier(lines, damaged.asOf?.lines);
  const now: TruthOptions = { ...truth, alsoExcluded: [], fresh: false };
  const log: Logger = {
    log(level, message, fields) {
      if (level === "warn") noteWarning(seen, kind, damaged, message, String(fields?.path));
    },
  };
  const watched = kind.detector === "reader" ? log : quiet;
  const caches = [warmCacheOf(world), coldCacheOf(world)];
  for (const [index, folder] of caches.entries()) {
    for (const fresh of [false, true]) {
      if (!thoroughness.everyReader && fresh === (index === 0)) continue;
      const failure = await read(ports, truth, folder, { ...now, fresh }, seen, watched);
      if (failure !== undefined && kind.detector === "reader")
        refused({ world, kind, damaged, seen }, failure);
    }
  }
  if (thoroughness.compaction) await compactAndRead(world, ports, truth, damaged, now, seen);
  if (thoroughness.rest) {
    seen.rest = (await goesOn(world, ports, earlier(words, damaged.asOf?.words), seen))
      ? "goes on"
      : "stopped";
  }
}

const quiet: Logger = { log() {} };

function earlier(truth: DamagedCollection, runs: number | undefined): DamagedCollection {
  if (runs === undefined) return truth;
  return { ...truth, contents: truth.contents.slice(0, runs) };
}

/** Failures that are `SiltError`s are answers; any other is a bug that somebody would see as a crash. */
async function attempt<T>(
  seen: Observation,
  what: string,
  work: () => Promise<T>,
): Promise<{ readonly value: T } | { readonly failed: string }> {
  try {
    return { value: await work() };
  } catch (error) {
    const reason = reasonOf(error);
    if (!isSiltError(error)) seen.wrong.push(`${what} crashed: ${reason}`);
    return { failed: reason };
  }
}

function refused(
  { world, kind, damaged, seen }: Omit<Look, "thoroughness">,
  message: string,
): void {
  seen.said.push(message);
  seen.found = "refused";
  const expected = damaged.object ?? kind.object;
  const names = typeof expected === "string" ? [expected, basename(expected)] : [world.logName];
  seen.named ||= names.some((name) => message.includes(name));
}

/** What a report says beyond what it says of the undamaged store. */
function noteReport(
  seen: Observation,
  kind: DamagedKind,
  damaged: DamageCase,
  baseline: VerifyReport,
  report: VerifyReport,
): void {
  const known = new Set(
    [...baseline.problems, ...baseline.notices].map((one) => `${one.object} ${one.kind}`),
  );
  const fresh = (items: readonly { object: string; kind: string; message: string }[]) =>
    items.filter((one) => !known.has(`${one.object} ${one.kind}`));
  const [problems, notices] = [fresh(report.problems), fresh(report.notices)];
  for (const one of [...problems, ...notices]) {
    seen.said.push(`${one.object}: ${one.kind}: ${one.message}`);
    const isNamed = nameMatches(damaged.object ?? kind.object, one.object);
    seen.named ||= isNamed && kind.kinds.test(one.kind);
  }
  if (problems.length > 0) seen.found = "problem";
  else if (notices.length > 0) seen.found = "notice";
}

function noteWarning(
  seen: Observation,
  kind: DamagedKind,
  damaged: DamageCase,
  message: string,
  path: string,
): void {
  seen.said.push(`${message}: ${path}`);
  seen.found ??= "notice";
  seen.named ||= nameMatches(damaged.object ?? kind.object, path) && kind.kinds.test(message);
}

async function read(
  ports: Ports,
  truth: DamagedCollection,
  folder: string,
  options: TruthOptions,
  seen: Observation,
  logger: Logger,
): Promise<string | undefined> {
  const { fresh } = options;
  const what = `${fresh ? "fresh " : ""}read with ${basename(folder)}`;
  const answers = await attempt(seen, what, async () => {
    const opened = await openCollection(ports, truth.shard.collection);
    if (opened === undefined) return [];
    using reader = new CollectionReader(ports, opened.identity, {
      cache: new SegmentCache({ folder, logger }),
    });
    const records = await reader.records({}, { fresh });
    return [records, await reader.nearest(QUERY, NEAREST, {}, { fresh })];
  });
  if (folder.endsWith("cold-cache")) rmSync(folder, { recursive: true, force: true });
  if ("failed" in answers) return answers.failed;
  for (const answer of answers.value) {
    const wrong = wrongAnswer(truth, options, answer);
    if (wrong !== undefined) seen.wrong.push(`${what}: ${wrong}`);
  }
  return undefined;
}

/** A compaction must fail, or commit exactly what the log says, but for runs that it had to leave out. */
async function compactAndRead(
  world: DamageWorld,
  ports: Ports,
  truth: DamagedCollection,
  damaged: DamageCase,
  now: TruthOptions,
  seen: Observation,
): Promise<void> {
  const done = await attempt(seen, "compact", () => compact(ports, truth));
  if ("failed" in done || done.value === undefined) return;
  const { version, appliedThrough, outcome, excluded } = done.value;
  if (outcome === "busy") return;
  const left = excluded.map(({ sequence }) => sequence);
  const unfair = left.filter((sequence) => !damaged.mayExclude?.includes(sequence));
  if (unfair.length > 0) seen.wrong.push(`compact excluded ${unfair}, which were sound`);
  if (appliedThrough !== truth.contents.length) {
    seen.wrong.push(
      `compact applied up to ${appliedThrough}, the log ends at ${truth.contents.length}`,
    );
  }
  const after = { ...now, version, appliedThrough, alsoExcluded: left };
  await read(ports, truth, coldCacheOf(world), after, seen, quiet);
}

async function compact(ports: Ports, { shard }: DamagedCollection) {
  const opened = await openCollection(ports, shard.collection);
  if (opened === undefined) return undefined;
  return await compactShard(ports, opened.identity, opened.policy, shard, { holder: "matrix" });
}

/** The other collection answers, compacts and answers again, all of it right. */
async function goesOn(
  world: DamageWorld,
  ports: Ports,
  words: DamagedCollection,
  seen: Observation,
): Promise<boolean> {
  const { version, appliedThrough } = words;
  const now: TruthOptions = { version, appliedThrough, alsoExcluded: [], fresh: true };
  const before = seen.wrong.length;
  await read(ports, words, coldCacheOf(world), now, seen, quiet);
  const done = await attempt(seen, "compact the rest", () => compact(ports, words));
  if ("failed" in done) return false;
  if (done.value?.outcome !== "flipped") return false;
  const after = { ...now, ...pick(done.value), fresh: false };
  await read(ports, words, coldCacheOf(world), after, seen, quiet);
  return seen.wrong.length === before;
}

const pick = ({ version, appliedThrough }: { version: number; appliedThrough: number }) => ({
  version,
  appliedThrough,
});
