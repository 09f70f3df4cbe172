import { readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Where this process writes what will appear as `file` when it is whole. */
export const partialPath = (file: string): string => `${file}.${process.pid}.part`;

/** Removes what processes that were killed have left of `file`. */
export function removeStalePartials(file: string): void {
  const prefix = `${basename(file)}.`;
  for (const name of readdirSync(dirname(file))) {
    const pid = /^(\d+)\.part$/.exec(name.slice(prefix.length))?.[1];
    if (!name.startsWith(prefix) || pid === undefined || isAlive(Number(pid))) continue;
    rmSync(join(dirname(file), name), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
