/**
 * What is there after everything has settled, in files, objects, items and bytes, and how much of it
 * there may be.
 */
import { existsSync, readdirSync, statSync, utimesSync } from "node:fs";
import { basename, join } from "node:path";
import { measureAws } from "./aws-growth.ts";
import { expectThat } from "./role-context.ts";
import { SLOTS } from "./slots.ts";
import { isOnAws, openWorldStore, slotFolder, type World, writerJournal } from "./world.ts";

/** Of a store: its objects, and its log. */
export interface StoreGrowth {
  readonly objects: number;
  readonly objectBytes: number;
  readonly logBytes: number;
  /** None on AWS. */
  readonly walBytes: number;
}

export interface Growth extends StoreGrowth {
  readonly runs: number;
  readonly versions: number;
  /** In the temporary folder of those who have the store open, before and after a sweep. */
  readonly workBefore: number;
  readonly workAfter: number;
  readonly cacheFiles: number;
  readonly cacheBytes: number;
  readonly systemTemporary: readonly string[];
  readonly exportLeftovers: number;
  readonly writerJournals: number;
}

/** Leftovers are swept when they are an hour old: here they age at once. */
const AGED_MS = 2 * 60 * 60 * 1000;
const CACHE_BYTES_LIMIT = 8 * 1024 * 1024;
const WAL_BYTES_LIMIT = 32 * 1024 * 1024;
const LOG_BYTES_BASE = 256 * 1024;
const LOG_BYTES_A_RUN = 2_500;

/** Measures, and throws when something has grown more than the work that was done explains. */
export async function measureGrowth(world: World): Promise<Growth> {
  const work = join(isOnAws(world) ? world.awsWork : world.location, "tmp");
  const workBefore = filesIn(work).length;
  ageAll(work);
  const { runs, versions } = await countWork(world);
  const cache = filesUnder(world.cacheFolder);
  const growth: Growth = {
    runs,
    versions,
    ...(isOnAws(world) ? await measureAws(world.location) : measureFolder(world.location)),
    workBefore,
    workAfter: filesIn(work).filter((name) => !isAlive(name)).length,
    cacheFiles: cache.length,
    cacheBytes: bytesOf(cache),
    systemTemporary: filesIn(world.temporary).filter((name) => name !== basename(world.awsWork)),
    exportLeftovers: SLOTS.flatMap(({ name }) =>
      filesIn(slotFolder(world, name)).filter((file) => file.endsWith(".part")),
    ).length,
    writerJournals: SLOTS.flatMap(({ name }) =>
      filesIn(writerJournal(world, name)).filter((file) => file.endsWith(".journal")),
    ).length,
  };
  expectBounded(growth);
  return growth;
}

function measureFolder(folder: string): StoreGrowth {
  const objects = filesUnder(join(folder, "collections"));
  return {
    objects: objects.length,
    objectBytes: bytesOf(objects),
    logBytes: sizeOf(join(folder, "log.sqlite")),
    walBytes: sizeOf(join(folder, "log.sqlite-wal")),
  };
}

function expectBounded(growth: Growth): void {
  const bounds: readonly (readonly [name: keyof Growth, most: number])[] = [
    ["workAfter", 0],
    ["cacheBytes", CACHE_BYTES_LIMIT],
    ["walBytes", WAL_BYTES_LIMIT],
    ["logBytes", LOG_BYTES_BASE + growth.runs * LOG_BYTES_A_RUN],
    ["writerJournals", 0],
    ["exportLeftovers", SLOTS.length],
  ];
  for (const [name, most] of bounds) {
    const value = growth[name];
    expectThat(
      Number(value) <= most,
      () => `${name} has grown to ${value}, expected at most ${most}`,
    );
  }
  expectThat(
    growth.systemTemporary.length === 0,
    () => `the system's temporary folder still has ${growth.systemTemporary.slice(0, 5)}`,
  );
}

/** Opening a store, and beginning to work, sweeps what killed processes left. */
async function countWork(world: World): Promise<{ runs: number; versions: number }> {
  const cacheFolder = join(world.root, "checker-cache");
  await using store = await openWorldStore(world, { create: false, cacheFolder });
  store.context.tempRoot();
  const shards = (await store.status()).flatMap((collection) => collection.shards);
  return {
    runs: shards.reduce((sum, { head }) => sum + head, 0),
    versions: shards.reduce((sum, { version }) => sum + version, 0),
  };
}

const filesIn = (folder: string): readonly string[] =>
  existsSync(folder) ? readdirSync(folder) : [];

function filesUnder(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
const bytesOf = (paths: readonly string[]) => paths.reduce((sum, path) => sum + sizeOf(path), 0);

function ageAll(folder: string): void {
  const then = new Date(Date.now() - AGED_MS);
  for (const name of filesIn(folder)) {
    // A reader that lives on may take away its own.
    if (existsSync(join(folder, name))) utimesSync(join(folder, name), then, then);
  }
}

/** Temporary files are named after their process. */
function isAlive(name: string): boolean {
  const pid = Number(/^(?:work-)?(\d+)-/.exec(name)?.[1]);
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
