/**
 * Permissions that are taken away for a while from folders of a store, and given back, while everybody
 * works on it as the user whom it belongs to. Denied is never absent: nothing is excluded, nothing lost.
 */
import { chmodSync, readdirSync, statSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createSeededRandom, type SeededRandom } from "@silt/testkit";
import { settleAndCheck } from "./check-store.ts";
import { Life, type LifeReport } from "./life.ts";
import { SLOTS, type Slot } from "./slots.ts";
import { AS_NOBODY, canBeNobody, giveToNobody, letPass } from "./somebody-else.ts";
import { createWorld, type World, writerJournal } from "./world.ts";

const WORKERS = ["write-0", "buffer-0", "compact-0", "read-0", "history-0", "collect-0"];
const AWAY_MS_MIN = 100;
const AWAY_MS_MORE = 300;
const WORKING_CHANCE = 0.4;
const DEEDS_MORE = 3;

export interface TakenAwayReport {
  /** Folders that were closed for a while. */
  readonly folders: readonly string[];
  readonly failures: number;
  readonly examples: readonly string[];
  readonly lives: readonly LifeReport[];
}

/** Undefined where this process may not become somebody else. Throws when something was lost. */
export async function runTakenAway(
  root: string,
  options: { readonly seed: number; readonly times: number },
): Promise<TakenAwayReport | undefined> {
  if (!canBeNobody()) return undefined;
  const random = createSeededRandom(options.seed);
  letPass(root);
  const names = SLOTS.map(({ name }) => name);
  const world = await createWorld(root, names);
  giveToNobody(root);
  const running = WORKERS.map((name) => start(world, name, random));
  const folders: string[] = [];
  try {
    await Promise.all(running.map((life) => life.until(({ deeds }) => deeds > 0)));
    for (let time = 1; time <= options.times; time++) {
      folders.push(await closeForAWhile(world, random, time));
      // With all permissions back the same processes do new things.
      await Promise.all(running.map(goesOn));
    }
  } finally {
    for (const life of running) life.kill();
  }
  const lives = await Promise.all(running.map((life) => life.ended));
  await settleAndCheck(world, { deep: true });
  const errors = lives.flatMap((life) => [...life.errors.values()]);
  const failures = running.reduce((sum, life) => sum + life.failures, 0);
  return { folders, failures, examples: [...new Set(errors)], lives };
}

function start(world: World, name: string, random: SeededRandom): Life {
  const slot = SLOTS.find((known) => known.name === name) as Slot;
  const plan = { slot, seed: random.int(2 ** 31), ending: { kind: "timer", ms: 2 ** 30 } } as const;
  return new Life(world, plan, { wrapper: AS_NOBODY });
}

async function goesOn(life: Life): Promise<void> {
  const before = life.deeds;
  await life.until(({ deeds }) => deeds >= before + DEEDS_MORE);
}

/** The store itself first, then any folder; to nobody, or for reading only. */
async function closeForAWhile(world: World, random: SeededRandom, time: number): Promise<string> {
  const folder = time === 1 ? world.location : chooseFolder(world, random);
  const mode = statSync(folder).mode & 0o777;
  chmodSync(folder, random.chance(0.5) ? 0o000 : 0o555);
  await sleep(AWAY_MS_MIN + random.int(AWAY_MS_MORE));
  chmodSync(folder, mode);
  return relative(world.root, folder);
}

/** One in which work is done, or one of the many in which objects lie. */
function chooseFolder(world: World, random: SeededRandom): string {
  const working = [
    join(world.location, "tmp"),
    world.cacheFolder,
    writerJournal(world, "buffer-0"),
  ];
  return random.chance(WORKING_CHANCE)
    ? random.pick(working)
    : random.pick(foldersBelow(join(world.location, "collections")).toSorted());
}

function foldersBelow(folder: string): readonly string[] {
  // What is made for one attempt comes and goes.
  if (basename(folder) === "snapshots") return [folder];
  const entries = readdirSync(folder, { withFileTypes: true }).filter((one) => one.isDirectory());
  return [folder, ...entries.flatMap(({ name }) => foldersBelow(join(folder, name)))];
}
