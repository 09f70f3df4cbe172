/**
 * A disk that fills up while everybody works on it: the store's, the cache's, or that of a writer's
 * journal. Failures are `unavailable`; when there is space again the same processes go on, and nothing
 * acknowledged is lost.
 */
import { createSeededRandom, type SeededRandom } from "@silt/testkit";
import { settleAndCheck } from "./check-store.ts";
import { Life, type LifeReport } from "./life.ts";
import { runSilt, type SiltRun } from "./run-silt.ts";
import { SLOTS, type Slot } from "./slots.ts";
import { mountSmallDisk, ROOM, type SmallDisk } from "./small-disk.ts";
import { createWorld, type World, worldAt, writerJournal } from "./world.ts";

/** Which disk is full, how much is left at most, and who must notice. */
export const FULL_DISKS = {
  store: {
    pathOf: (world: World) => world.location,
    leftBytesMax: 300 * 1024,
    noticed: ["write-0", "buffer-0", "compact-0"],
  },
  cache: {
    pathOf: (world: World) => world.cacheFolder,
    leftBytesMax: 60 * 1024,
    noticed: ["read-0"],
  },
  journal: {
    pathOf: (world: World) => writerJournal(world, "buffer-0"),
    leftBytesMax: 12 * 1024,
    noticed: ["buffer-0"],
  },
} as const;
export type FullDisk = keyof typeof FULL_DISKS;

const WORKERS = ["write-0", "buffer-0", "compact-0", "read-0", "history-0"];
const FAILURES_MIN = 2;
const DEEDS_MORE = 5;

export interface FullDiskReport {
  /** Failures that were told while the disk was full, slot by slot. */
  readonly failures: Readonly<Record<string, number>>;
  readonly examples: readonly string[];
  /** What the command said to a write on a full disk. */
  readonly commands: readonly SiltRun[];
  readonly lives: readonly LifeReport[];
}

/** Undefined where nothing may be mounted. Throws a `WrongError` when something was lost. */
export async function runFullDisk(
  root: string,
  full: readonly FullDisk[],
  options: { readonly seed: number; readonly rounds: number },
): Promise<FullDiskReport | undefined> {
  using disks = new DisposableStack();
  const small: SmallDisk[] = [];
  for (const name of full) {
    const disk = mountSmallDisk(FULL_DISKS[name].pathOf(worldAt(root)));
    if (disk === undefined) return undefined;
    small.push(disks.use(disk));
  }
  const names = SLOTS.map(({ name }) => name);
  const world = await createWorld(root, names);
  const random = createSeededRandom(options.seed);
  const failures: Record<string, number> = {};
  const lives: LifeReport[] = [];
  const commands: SiltRun[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const running = WORKERS.map((name) => start(world, name, random));
    try {
      await Promise.all(running.map((life) => life.until(({ deeds }) => deeds > 0)));
      for (const [index, disk] of small.entries()) {
        disk.leave(random.int(FULL_DISKS[full[index] as FullDisk].leftBytesMax));
      }
      await Promise.all(running.filter(isToNotice(full)).map(untilItFails));
      if (full.includes("store")) commands.push(await writeByCommand(world));
      for (const life of running) {
        const { name } = life.plan.slot;
        failures[name] = (failures[name] ?? 0) + life.failures;
      }
      for (const disk of small) disk.leave(ROOM);
      await Promise.all(running.map(goesOn));
    } finally {
      for (const life of running) life.kill();
      lives.push(...(await Promise.all(running.map((life) => life.ended))));
    }
    await settleAndCheck(world, { deep: round === options.rounds });
  }
  const examples = new Set(lives.flatMap(({ errors }) => [...errors.values()]));
  return { failures, examples: [...examples], commands, lives };
}

function start(world: World, name: string, random: SeededRandom): Life {
  const slot = SLOTS.find((known) => known.name === name) as Slot;
  const ending = { kind: "timer", ms: 2 ** 30 } as const;
  return new Life(world, { slot, seed: random.int(2 ** 31), ending });
}

const isToNotice =
  (full: readonly FullDisk[]) =>
  ({ plan }: Life): boolean =>
    full.some((disk) => FULL_DISKS[disk].noticed.some((name) => name === plan.slot.name));

async function untilItFails(life: Life): Promise<void> {
  await life.until(({ failures }) => failures >= FAILURES_MIN);
}

/** The same process does new things. */
async function goesOn(life: Life): Promise<void> {
  const before = life.deeds;
  await life.until(({ deeds }) => deeds >= before + DEEDS_MORE);
}

/** A write by the command, of more than can be left. */
function writeByCommand(world: World): Promise<SiltRun> {
  const document = "long ".repeat(20_000);
  const lines = Array.from({ length: 50 }, (_, index) =>
    JSON.stringify({ id: `command-${index}`, embedding: [1, 2, 3, 4], document }),
  );
  return runSilt(world, ["put", "whole", "--json"], { input: lines.join("\n") });
}
