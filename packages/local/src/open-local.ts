/**
 * Opening a store on this machine: a folder of objects beside one SQLite file with the log, the
 * leases and the hints.
 *
 * ```
 * silt-store.json   says that this is a store; written last when one is created
 * log.sqlite        opened by nothing but SQLite
 * tmp/              files on their way to a key
 * collections/…     objects, each under its key
 * ```
 */
import { accessSync, constants, existsSync, readdirSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import {
  type Clock,
  type Logger,
  type Metrics,
  type Ports,
  pointerKey,
  type Random,
  type SegmentEngine,
  type ShardRef,
  SiltError,
} from "@silt/core";
import { folderError, saysAbsent } from "./folder-error.ts";
import { createFolderObjectStore } from "./folder-object-store.ts";
import { isReservedName, LOG_NAME, MARKER_NAME, objectPath, TEMP_FOLDER } from "./object-path.ts";
import { probeLinks, refuseNetworkFilesystem } from "./probe-filesystem.ts";
import { type ConnectionPorts, createLogFile, openLogConnection } from "./sqlite-connection.ts";
import { createSqliteHintQueue } from "./sqlite-hint-queue.ts";
import { createSqliteLeaseStore } from "./sqlite-lease-store.ts";
import { createSqliteRunLog } from "./sqlite-run-log.ts";
import {
  checkStoreMarker,
  readStoreMarker,
  type StoreMarker,
  writeStoreMarker,
} from "./store-marker.ts";
import { syncFolder, syncNow } from "./sync-folder.ts";
import { systemClock } from "./system-clock.ts";
import { systemRandom } from "./system-random.ts";
import { isTempName, sweepTempFiles } from "./temp-file.ts";

export interface OpenLocalOptions {
  /** Make a store when the folder is absent or empty; else that is `invalid`. */
  readonly create: boolean;
  /** Stays the caller's: it is not disposed with the ports. */
  readonly engine: SegmentEngine;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock?: Clock;
  readonly random?: Random;
}

export type LocalPorts = Ports & AsyncDisposable & { readonly root: string };

/**
 * Opens, or creates, the store in folder `root`. Throws `invalid` for a folder that is no store and
 * for a network file system, `unavailable` when it may not be read, `corrupt` when its log is gone.
 */
export async function openLocalPorts(root: string, options: OpenLocalOptions): Promise<LocalPorts> {
  const folder = resolve(root);
  const { engine, logger, metrics, clock = systemClock, random = systemRandom } = options;
  const connectionPorts: ConnectionPorts = { clock, random, logger };
  const marker = await findOrCreate(folder, options.create, connectionPorts);
  refuseNetworkFilesystem(folder);
  if (isWritable(folder)) await prepareFolder(folder, logger);

  await using opening = new AsyncDisposableStack();
  const log = opening.use(await openLogConnection(folder, connectionPorts));
  // What runs inside BEGIN IMMEDIATE has its own connection.
  const lock = opening.use(await openLogConnection(folder, connectionPorts));
  const opened = opening.move();
  return {
    root: folder,
    objects: createFolderObjectStore(folder, {
      clock,
      checkRoot: () => checkStoreMarker(folder, marker),
      exclusively: (action, work) => lock.write(action, work),
    }),
    log: createSqliteRunLog(log, { syncShard: (shard) => syncPointer(folder, shard) }),
    leases: createSqliteLeaseStore(log, clock),
    hints: createSqliteHintQueue(log),
    engine,
    clock,
    random,
    logger,
    metrics,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function findOrCreate(
  folder: string,
  create: boolean,
  ports: ConnectionPorts,
): Promise<StoreMarker> {
  const marker = readStoreMarker(folder);
  if (marker !== undefined) return marker;
  if (!create) {
    const lostIt = hasLogAndCollections(folder);
    // Another process may have finished the creation since.
    const finished = readStoreMarker(folder);
    if (finished !== undefined) return finished;
    if (lostIt) throw lostMarker(folder);
    throw new SiltError(
      "invalid",
      `Cannot open store "${folder}": there is no store; name another folder, or create one with "silt init"`,
    );
  }
  const [stranger] = strangersIn(folder);
  if (stranger !== undefined) {
    // Another process may have finished the creation since.
    const finished = readStoreMarker(folder);
    if (finished !== undefined) return finished;
    throw new SiltError(
      "invalid",
      `Cannot create store "${folder}": the folder is no store and holds "${stranger}", expected an empty or a new folder`,
    );
  }
  return createStore(folder, ports);
}

/** Without a marker that is a store that lost it. */
const hasLogAndCollections = (folder: string) =>
  existsSync(join(folder, LOG_NAME)) && existsSync(join(folder, "collections"));

const lostMarker = (folder: string) =>
  new SiltError(
    "corrupt",
    `Cannot open store "${folder}": its "${MARKER_NAME}" is gone, but a log and collections lie there; restore it from a backup`,
  );

/** What lies in the folder that an interrupted creation of a store does not explain. */
function strangersIn(folder: string): readonly string[] {
  let names: string[];
  try {
    names = readdirSync(folder);
    return names.filter((name) => {
      if (name !== TEMP_FOLDER) return !isReservedName(name) || name === MARKER_NAME;
      const inside = join(folder, name);
      return !statSync(inside).isDirectory() || !readdirSync(inside).every(isTempName);
    });
  } catch (error) {
    if (saysAbsent(error) && !existsSync(folder)) return [];
    throw folderError("open store", folder, error);
  }
}

/** Makes a store; the marker comes last, so that a folder with a marker is complete. */
async function createStore(folder: string, ports: ConnectionPorts): Promise<StoreMarker> {
  try {
    refuseNetworkFilesystem(nearestExisting(folder));
    const firstMade = await mkdir(join(folder, TEMP_FOLDER), { recursive: true });
    probeLinks(folder);
    if (!existsSync(join(folder, LOG_NAME))) createLogFile(folder, ports.logger);
    // A log of another program, or of a later Silt, is refused before the folder becomes a store.
    const log = await openLogConnection(folder, ports);
    log[Symbol.dispose]();
    if (firstMade !== undefined) await syncDownTo(folder, dirname(firstMade));
    return writeStoreMarker(folder, ports.random);
  } catch (error) {
    throw folderError("create store", folder, error);
  }
}

function nearestExisting(folder: string): string {
  let at = folder;
  while (!existsSync(at) && at !== dirname(at)) at = dirname(at);
  return at;
}

/** Makes the folders that were made from `top` down to `folder` durable. */
async function syncDownTo(folder: string, top: string): Promise<void> {
  for (let at = folder; at.startsWith(top); at = dirname(at)) {
    await syncFolder(at);
    if (at === top || at === dirname(at)) return;
  }
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    // Then only reading is asked of it; a write says itself that it was denied.
    return false;
  }
}

async function prepareFolder(folder: string, logger: Logger): Promise<void> {
  try {
    // Copies of a store often lack its empty folders.
    await mkdir(join(folder, TEMP_FOLDER), { recursive: true });
    probeLinks(folder);
    const swept = sweepTempFiles(folder, Date.now());
    if (swept > 0) logger.log("info", "swept temporary files of killed processes", { swept });
  } catch (error) {
    throw folderError("open store", folder, error);
  }
}

/** A flip by a process that died before its sync must be durable before APPLIED says so. */
function syncPointer(folder: string, shard: ShardRef): void {
  const path = objectPath(folder, pointerKey(shard));
  try {
    syncNow(path);
    syncNow(dirname(path));
  } catch (error) {
    if (!saysAbsent(error)) throw folderError("sync", path, error);
  }
}
