/** The health of a whole store on one page: what a person looks at before anything else. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import {
  COLLECTION_NAME,
  collectionFolders,
  isSiltError,
  openCollection,
  type Ports,
  reasonOf,
  shardRefs,
} from "@silt/core";
import { sqliteVersion } from "@silt/segment";
import { statusOf } from "../collection-status.ts";
import { siltVersion } from "../silt-version.ts";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCounted } from "../terminal/format-counted.ts";
import { checkShard } from "./check-shard.ts";
import { type HealthCheck, type HealthReport, notice, ok, problem } from "./health-report.ts";

export interface HealthOptions {
  readonly location: string;
  /** The store's own folder; undefined when it is on AWS. */
  readonly folder: string | undefined;
  /** Where it works. */
  readonly tempFolder: string;
  readonly cacheFolder: string;
  /** Pending runs older than this are stuck. */
  readonly stuckAfterMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** A rewrite needs its inputs and its output at once. */
const DISK_FACTOR = 3;
const DISK_RESERVE_BYTES = 256 * 1024 * 1024;

/** Looks at everything that is cheap to look at; changes nothing. Damage inside of objects is for `verify`. */
export async function checkStore(ports: Ports, options: HealthOptions): Promise<HealthReport> {
  const { location, folder, tempFolder, cacheFolder, stuckAfterMs, signal } = options;
  const versions = `Silt ${siltVersion()}, Node ${process.versions.node}, SQLite ${sqliteVersion()}`;
  const checks: HealthCheck[] = [
    ok("silt", `${versions}, store ${location}`),
    ...(await checkLog(ports, folder)),
  ];
  // Folders, for a collection that lost its `collection.json` is in no list of collections.
  let largest = folder === undefined ? 0 : largestSegmentIn(folder);
  for await (const found of collectionFolders(ports.objects)) {
    signal?.throwIfAborted();
    if (!("name" in found) || !COLLECTION_NAME.test(found.name)) continue;
    checks.push(...(await checkCollection(ports, found.name, stuckAfterMs)));
    if (folder === undefined) largest = Math.max(largest, await largestShardOf(ports, found.name));
  }
  checks.push(
    await checkDisk(folder ?? tempFolder, largest),
    checkTemporary(tempFolder),
    ...(await checkCache(cacheFolder)),
  );
  return { ok: checks.every(({ state }) => state !== "problem"), checks };
}

async function checkLog(
  { log }: Ports,
  folder: string | undefined,
): Promise<readonly HealthCheck[]> {
  const damages = (await log.audit?.()) ?? [];
  const remedy = "Restore the log from a backup of the same moment as the objects.";
  if (damages.length > 0) {
    return damages.map(({ what, reason }) => problem("log", `${what}: ${reason}`, remedy));
  }
  // Opening has asked for it.
  if (folder === undefined) return [ok("log", "its table and the objects belong together")];
  const bytes = sizesIn(folder, (name) => name.startsWith("log.sqlite")).bytes;
  // Opening has asked for the rest, on every connection.
  const told = `its own, commits are synced, every row has its digest, ${formatBytes(bytes)}`;
  return [ok("log", told)];
}

async function checkCollection(
  ports: Ports,
  name: string,
  stuckAfterMs: number,
): Promise<readonly HealthCheck[]> {
  try {
    const opened = await openCollection(ports, name);
    if (opened === undefined) return [];
    const { identity, policy } = opened;
    const shards = shardRefs(identity).map((shard) =>
      checkShard(ports, shard, policy, stuckAfterMs),
    );
    return (await Promise.all(shards)).flat();
  } catch (error) {
    if (!isTold(error)) throw error;
    return [problem(name, reasonOf(error), 'Run "silt verify".')];
  }
}

/** Bytes of the largest shard; 0 for a collection of whose damage is told already. */
async function largestShardOf(ports: Ports, name: string): Promise<number> {
  try {
    const opened = await openCollection(ports, name);
    if (opened === undefined) return 0;
    const { shards } = await statusOf(ports, opened);
    return Math.max(...shards.map(({ bytes }) => bytes));
  } catch (error) {
    if (!isTold(error)) throw error;
    return 0;
  }
}

const isTold = (error: unknown) => isSiltError(error, "corrupt") || isSiltError(error, "invalid");

/** `largest`: bytes that a compaction may have to rewrite at once. */
async function checkDisk(folder: string, largest: number): Promise<HealthCheck> {
  const free = await freeBytes(folder);
  const needed = largest * DISK_FACTOR + DISK_RESERVE_BYTES;
  const told = `${formatBytes(free)} are free where the store works`;
  if (free >= needed) return ok("disk", told);
  const remedy = "Free some space: compactions and ingests give up, nothing is lost until then.";
  return problem(
    "disk",
    `${told}; rewriting the largest part takes ${formatBytes(needed)}`,
    remedy,
  );
}

function largestSegmentIn(root: string): number {
  const names = readdirQuietly(join(root, "collections"), true);
  return names
    .filter((name) => name.endsWith(".sqlite"))
    .reduce((most, name) => Math.max(most, sizeOf(join(root, "collections", name))), 0);
}

function checkTemporary(folder: string): HealthCheck {
  const { files, bytes } = sizesIn(folder, () => true);
  const told = `${formatCounted(files, "temporary file")}, ${formatBytes(bytes)}`;
  if (files === 0) return ok("tmp", "no temporary files");
  return notice(
    "tmp",
    told,
    "Of work that goes on, or died: what is old is swept at the next opening.",
  );
}

async function checkCache(folder: string): Promise<readonly HealthCheck[]> {
  const all = sizesIn(folder, () => true);
  const bad = sizesIn(folder, (name) => name.endsWith(".bad"));
  const free = existsSync(folder) ? `, ${formatBytes(await freeBytes(folder))} are free there` : "";
  const told = `${formatCounted(all.files, "file")}, ${formatBytes(all.bytes)} in ${folder}${free}`;
  if (bad.files === 0) return [ok("cache", told)];
  return [
    notice(
      "cache",
      `${told}; put aside as damaged: ${formatCounted(bad.files, "file")}`,
      "The disk of the cache may be failing; the files may be deleted.",
    ),
  ];
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

function sizesIn(
  folder: string,
  counts: (name: string) => boolean,
): { readonly files: number; readonly bytes: number } {
  const names = readdirQuietly(folder, false).filter(counts);
  const bytes = names.reduce((sum, name) => sum + sizeOf(join(folder, name)), 0);
  return { files: names.length, bytes };
}

/** Names in a folder; none when it is not there. */
function readdirQuietly(folder: string, recursive: boolean): readonly string[] {
  try {
    return readdirSync(folder, { recursive, encoding: "utf8" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** 0 for a file that has just gone. */
const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
