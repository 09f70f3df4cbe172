/** Another user than the one whom the store belongs to: root passes every check of permissions. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

const NOBODY = 65_534;
/** What runs a program as that user. */
export const AS_NOBODY: readonly string[] = [
  "setpriv",
  `--reuid=${NOBODY}`,
  `--regid=${NOBODY}`,
  "--clear-groups",
];

/** False where this process may not become somebody else. */
export function canBeNobody(): boolean {
  const [command = "", ...args] = [...AS_NOBODY, "true"];
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Gives all below a folder to that user. */
export function giveToNobody(folder: string): void {
  execFileSync("chown", ["-R", `${NOBODY}:${NOBODY}`, folder]);
}

/** Lets anyone write below a folder. */
export function openToAll(folder: string): void {
  execFileSync("chmod", ["-R", "a+rwX", folder]);
}

/** Lets anyone pass through a folder, as `mkdtemp` does not. */
export const letPass = (folder: string): void => chmodSync(folder, 0o755);

/** Names, modes, times and contents of all below a folder: equal when nothing has changed. */
export function fingerprint(folder: string): readonly string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const { mode, mtimeMs, size } = lstatSync(path);
      const hash = entry.isFile()
        ? createHash("sha256").update(readFileSync(path)).digest("hex")
        : "";
      return `${relative(folder, path)} ${mode.toString(8)} ${mtimeMs} ${size} ${hash}`;
    })
    .toSorted();
}
