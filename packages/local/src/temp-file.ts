import { randomBytes } from "node:crypto";
import { readdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { codeOf, saysAbsent } from "./folder-error.ts";
import { TEMP_FOLDER } from "./object-path.ts";

/** A temporary file that was not written to for so long belongs to nobody who still works. */
export const TEMP_AGE_MS_MAX = 60 * 60 * 1000;
const NAME = /^(\d+)-([0-9a-f]{12})-[0-9a-f]{12}\.tmp(-wal|-shm|-journal)?$/;
/** In a container every process has the same number: the token tells us from our predecessor. */
const PROCESS_TOKEN = randomBytes(6).toString("hex");

/** True for names that {@link tempPath} gives. */
export function isTempName(name: string): boolean {
  return NAME.test(name);
}

/** A new path in the store's temporary folder, named after this process. */
export function tempPath(root: string): string {
  const name = `${process.pid}-${PROCESS_TOKEN}-${randomBytes(6).toString("hex")}.tmp`;
  return join(root, TEMP_FOLDER, name);
}

function isAlive(pid: number, token: string): boolean {
  if (pid === process.pid) return token === PROCESS_TOKEN;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}

/** Removes what killed processes left; returns how many files went. Age is by the file system's clock. */
export function sweepTempFiles(root: string, nowMs: number): number {
  const folder = join(root, TEMP_FOLDER);
  let swept = 0;
  for (const name of readdirSync(folder)) {
    const [, pid, token] = NAME.exec(name) ?? [];
    if (pid === undefined || token === undefined || isAlive(Number(pid), token)) continue;
    const path = join(folder, name);
    try {
      if (nowMs - statSync(path).mtimeMs < TEMP_AGE_MS_MAX) continue;
      unlinkSync(path);
      swept += 1;
    } catch (error) {
      // Another process swept it first.
      if (!saysAbsent(error)) throw error;
    }
  }
  return swept;
}
