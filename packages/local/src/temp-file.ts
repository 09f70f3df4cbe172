import { randomBytes } from "node:crypto";
import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { codeOf, saysAbsent } from "./folder-error.ts";
import { TEMP_FOLDER } from "./object-path.ts";

/** A temporary file that was not written to for so long belongs to nobody who still works. */
export const TEMP_AGE_MS_MAX = 60 * 60 * 1000;
const NAME = /^(\d+)-([0-9a-f]{12})-[0-9a-f]{12}\.tmp(-wal|-shm|-journal)?$/;
/** A folder in which a process works; the segment engine makes and removes it. */
const WORK_NAME = /^work-(\d+)-[A-Za-z0-9]{6}$/;
/** In a container every process has the same number: the token tells us from our predecessor. */
const PROCESS_TOKEN = randomBytes(6).toString("hex");

/** True for names that {@link tempPath} and the segment engine give. */
export function isTempName(name: string): boolean {
  return NAME.test(name) || WORK_NAME.test(name);
}

/** A new path in the store's temporary folder, named after this process. */
export function tempPath(root: string): string {
  const name = `${process.pid}-${PROCESS_TOKEN}-${randomBytes(6).toString("hex")}.tmp`;
  return join(root, TEMP_FOLDER, name);
}

/** A work folder has no token: one of our own number is ours unless it is older than we are. */
function isAlive(pid: number, token: string | undefined, modifiedAtMs: number): boolean {
  if (pid === process.pid) {
    return token === undefined
      ? modifiedAtMs >= Date.now() - process.uptime() * 1000
      : token === PROCESS_TOKEN;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}

/** Removes what killed processes left; returns how many went. Age is by the file system's clock. */
export function sweepTempFiles(root: string, nowMs: number): number {
  const folder = join(root, TEMP_FOLDER);
  let swept = 0;
  for (const name of readdirSync(folder)) {
    const [, pid, token] = NAME.exec(name) ?? WORK_NAME.exec(name) ?? [];
    if (pid === undefined) continue;
    const path = join(folder, name);
    try {
      const { mtimeMs } = statSync(path);
      if (nowMs - mtimeMs < TEMP_AGE_MS_MAX || isAlive(Number(pid), token, mtimeMs)) continue;
      rmSync(path, { recursive: true });
      swept += 1;
    } catch (error) {
      // Another process swept it first.
      if (!saysAbsent(error)) throw error;
    }
  }
  return swept;
}
