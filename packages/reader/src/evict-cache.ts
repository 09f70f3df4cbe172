import { readdirSync, rmSync, type Stats, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "@silt/core";
import { isKeptFromUs } from "./shared-file.ts";

/** Temporary and bad files that nobody touched for so long are of a process that died. */
const LEFTOVER_AGE_MS_MAX = 60 * 60 * 1000;
const LEFTOVER = /\.(tmp|bad)$/;

/** Notes that a cached file was used. Only the access time: the content may be linked from a store. */
export function markUsed(path: string): void {
  try {
    utimesSync(path, new Date(), statSync(path).mtime);
  } catch {
    // Someone else's file, or a read-only disk: it will seem older than it is, which costs a fetch.
  }
}

/**
 * Removes the files that were not used for longest until the folder holds at most `bytesMax`, and
 * what killed processes left; never `keep`, which is about to be opened. Open files stay readable
 * for those who have them open.
 */
export function evictCache(folder: string, bytesMax: number, logger: Logger, keep: string): void {
  const now = Date.now();
  const files = readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const found = statSync(path, { throwIfNoEntry: false });
    return found?.isFile() ? [{ path, found }] : [];
  });
  let total = files.reduce((sum, { found }) => sum + found.size, 0);
  const isLeft = ({ path, found }: { path: string; found: Stats }) =>
    LEFTOVER.test(path) && now - found.mtimeMs > LEFTOVER_AGE_MS_MAX;
  const oldestFirst = files.toSorted((a, b) => a.found.atimeMs - b.found.atimeMs);
  for (const file of oldestFirst) {
    if (file.path === keep || (total <= bytesMax && !isLeft(file))) continue;
    if (!removed(file.path)) continue;
    total -= file.found.size;
    logger.log("debug", "evicted from the cache", { path: file.path });
  }
}

/** False when the file is somebody else's, who must evict it. */
function removed(path: string): boolean {
  try {
    rmSync(path, { force: true });
    return true;
  } catch (error) {
    if (isKeptFromUs(error)) return false;
    throw error;
  }
}
