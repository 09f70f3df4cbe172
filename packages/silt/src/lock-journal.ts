import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { reasonOf, SiltError } from "@silt/core";

const NAME = "lock";
const ATTEMPTS_MAX = 3;
/** Clocks and rounding may move a process's computed start by less than this. */
const START_TOLERANCE_MS = 5_000;

interface Owner {
  readonly pid: number;
  readonly startedAtMs: number;
}

const self = (): Owner => ({
  pid: process.pid,
  startedAtMs: Math.round(Date.now() - process.uptime() * 1000),
});

/**
 * Takes the lock of a journal folder; returns what gives it back. A lock of a process that is gone
 * is taken over. Throws `unavailable` when the owner lives.
 */
export function lockJournal(folder: string): () => void {
  const path = join(folder, NAME);
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    try {
      writeFileSync(path, JSON.stringify(self()), { flag: "wx" });
      return () => rmSync(path, { force: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST") {
        const message = `Cannot lock journal "${folder}": ${reasonOf(cause)}`;
        throw new SiltError("unavailable", message, { cause });
      }
    }
    const owner = ownerOf(path);
    if (owner !== undefined && isAlive(owner)) {
      throw new SiltError(
        "unavailable",
        `Cannot open journal "${folder}": process ${owner.pid} writes to it; close that writer, or use another folder`,
      );
    }
    removeStale(path, folder);
  }
  throw new SiltError(
    "unavailable",
    `Cannot lock journal "${folder}": others take it; use another folder`,
  );
}

function removeStale(path: string, folder: string): void {
  try {
    rmSync(path, { force: true });
  } catch (cause) {
    const message = `Cannot lock journal "${folder}": ${reasonOf(cause)}`;
    throw new SiltError("unavailable", message, { cause });
  }
}

/** Undefined for a lock that was torn by a crash, or that went meanwhile. */
function ownerOf(path: string): Owner | undefined {
  try {
    const owner = JSON.parse(readFileSync(path, "utf8"));
    return Number.isInteger(owner?.pid) ? owner : undefined;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, startedAtMs }: Owner): boolean {
  // In a container every process may have the same number.
  if (pid === process.pid) return Math.abs(self().startedAtMs - startedAtMs) < START_TOLERANCE_MS;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
