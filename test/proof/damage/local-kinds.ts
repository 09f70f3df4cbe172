/** What lies beside a store: a reader's cache and a writer's journal. */
import { mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  type CollectionIdentity,
  encodeEmbedding,
  isSiltError,
  reasonOf,
  type SegmentDescriptor,
  sha256Of,
} from "@silt/core";
import { SegmentCache, writeVectorFile } from "../../../packages/reader/src/index.ts";
import { type JournalOperation, openJournal } from "../../../packages/silt/src/journal.ts";
import type { DamageCase, DamagedKind } from "./damage-case.ts";
import type { DamageWorld } from "./damage-world.ts";
import { fileCases } from "./file-cases.ts";
import { type Observation, warmCacheOf } from "./observe-case.ts";
import type { RestorePoint } from "./restore-point.ts";

/** The oldest layer of the current version, as the warm cache has it. */
export function cacheKinds(world: DamageWorld, warm: RestorePoint): readonly DamagedKind[] {
  const segments = warm.paths().filter((path) => path.endsWith(".sqlite"));
  return segments.slice(0, 1).map((name) => {
    const path = join(warmCacheOf(world), name);
    const others = segments
      .slice(1)
      .map((other) => [basename(other), warm.bytesOf(other)] as const);
    return {
      name: "reader's cache: segment",
      detector: "reader",
      object: path,
      kinds: /^cached segment put aside$/,
      cases: (random, places) => fileCases({ path, form: "sqlite", others }, random, places),
    };
  });
}

const besideOf = (world: DamageWorld): string => join(world.folder, "beside");

/** Fills a folder with a vector file and a journal; gives their kinds. */
export async function besideKinds(
  world: DamageWorld,
): Promise<{ readonly folder: string; readonly kinds: readonly DamagedKind[] }> {
  const folder = besideOf(world);
  mkdirSync(folder);
  return { folder, kinds: [vectorKind(folder), await journalKind(world, folder)] };
}

const DIMENSION = 4;
const VECTORS = 1_200;

function vectorKind(folder: string): DamagedKind {
  const [mine, other] = ["mine", "other"].map((name) => sha256Of(name)) as [string, string];
  const rows = Array.from({ length: VECTORS }, (_, row) => ({
    rowid: row + 1,
    embedding: encodeEmbedding([row, 1, 2, row % 7]),
  }));
  const pathOf = (sha256: string) => join(folder, `${sha256}.vectors`);
  for (const segmentSha256 of [mine, other]) {
    writeVectorFile(pathOf(segmentSha256), { dimension: DIMENSION, segmentSha256 }, rows);
  }
  const path = pathOf(mine);
  const answer = (seen: Observation) => answerOf(folder, mine, path, seen);
  const expected = answer(noObservation());
  return {
    name: "reader's cache: vector file",
    detector: "reader",
    object: path,
    kinds: /^vector file put aside$/,
    observe: async (damaged) => {
      const seen = noObservation();
      await damaged.apply();
      seen.harmless = damaged.damage === "gone";
      attempt(seen, path, () => {
        const found = answer(seen);
        if (found !== undefined && found !== expected) seen.wrong.push("other vectors");
      });
      return seen;
    },
    cases: (random, places) => {
      const others = [["other", readOf(pathOf(other))]] as const;
      return fileCases({ path, form: "vectors", others }, random, places);
    },
  };
}

const readOf = (path: string): Uint8Array => readFileSync(path);

const noObservation = (): Observation => ({
  named: false,
  wrong: [],
  rest: "not asked",
  harmless: false,
  said: [],
});

function attempt(seen: Observation, name: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    noteFailure(seen, name, error);
  }
}

function noteFailure(seen: Observation, name: string, error: unknown): void {
  const reason = reasonOf(error);
  if (!isSiltError(error)) seen.wrong.push(`crashed: ${reason}`);
  seen.said.push(reason);
  seen.found = "refused";
  seen.named = reason.includes(name);
}

/** What the cache finds in the file, as text; undefined when it does without. */
function answerOf(
  folder: string,
  sha256: string,
  path: string,
  seen: Observation,
): string | undefined {
  const cache = new SegmentCache({
    folder,
    logger: {
      log(_, message, fields) {
        seen.found = "notice";
        seen.named = fields?.path === path;
        seen.said.push(message);
      },
    },
  });
  const descriptor = { object: { sha256 } } as SegmentDescriptor;
  const found = cache.findVectors(descriptor, DIMENSION, { metric: "l2" });
  if (found === undefined) return undefined;
  const query = Float32Array.of(0, 1, 2, 3);
  // Every distance, so that every component matters.
  const ranked = [...found.block.nearest(query, VECTORS)];
  found.block[Symbol.dispose]();
  return JSON.stringify([ranked, [...(found.rowids as Float64Array)]]);
}

async function journalKind(world: DamageWorld, folder: string): Promise<DamagedKind> {
  const [mine, other] = ["journal", "other-journal"].map((name) => join(folder, name)) as [
    string,
    string,
  ];
  await fillJournal(world, world.words.identity, mine);
  await fillJournal(world, world.lines.identity, other);
  const path = join(mine, FIRST);
  const expected = await replayed(world, mine);
  return {
    name: "writer's journal",
    detector: "reader",
    object: path,
    kinds: /./,
    observe: async (damaged) => {
      const seen = noObservation();
      await damaged.apply();
      try {
        judge(seen, damaged, await replayed(world, mine), expected);
      } catch (error) {
        noteFailure(seen, mine, error);
      }
      return seen;
    },
    cases: (random, places) => {
      const others = [["another journal", readOf(join(other, FIRST))]] as const;
      const copies = [[join(mine, "000000002.journal"), path]] as const;
      return fileCases({ path, form: "journal", others, copies }, random, places);
    },
  };
}

const FIRST = "000000001.journal";
const CALLS = 5;

async function fillJournal(
  world: DamageWorld,
  identity: CollectionIdentity,
  folder: string,
): Promise<void> {
  await using ports = await world.open();
  const journal = await openJournal(ports, identity, folder);
  for (let call = 0; call < CALLS; call++) {
    const id = `call-${call}`;
    const row = { operation: "delete", id, sequence: 0 } as const;
    journal.append([{ row }, { replace: `page-${call}` }] satisfies JournalOperation[]);
  }
  journal.close();
}

/** The operations that a writer finds, as text, one a line. */
async function replayed(world: DamageWorld, folder: string): Promise<readonly string[]> {
  await using ports = await world.open();
  const journal = await openJournal(ports, world.words.identity, folder);
  try {
    return journal.left.map((operation) => JSON.stringify(operation));
  } finally {
    journal.close();
  }
}

/** All of it, or, where the end is gone, what stands before: that is what a crash leaves, too. */
function judge(
  seen: Observation,
  { damage }: DamageCase,
  found: readonly string[],
  expected: readonly string[],
): void {
  const isPrefix = found.every((operation, at) => operation === expected[at]);
  const isWhole = isPrefix && found.length === expected.length;
  const isTwice = found.join() === [...expected, ...expected].join();
  if (damage === "twice" && isTwice) seen.harmless = true;
  else if (["cut", "gone", "zeroed page"].includes(damage) && isPrefix) seen.harmless = true;
  else if (damage === "grown" && isWhole) seen.harmless = true;
  else if (!isWhole) seen.wrong.push(`${found.length} operations of ${expected.length}`);
}
