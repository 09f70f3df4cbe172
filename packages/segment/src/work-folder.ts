/** Folders in which a process works; their names tell whose they are, so that they can be swept. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Logger, reasonOf } from "@silt/core";
import { environmentError } from "./file-hash.ts";

/** A new folder of this process below `root`. Throws `unavailable` when there can be none. */
export function makeWorkFolder(root: string): string {
  try {
    return mkdtempSync(join(root, `work-${process.pid}-`));
  } catch (error) {
    throw environmentError("make a temporary folder in", root, error);
  }
}

/**
 * Removes a work folder, whatever the environment says: what the work has come to stands, e.g. a run that
 * is registered. A folder that cannot be removed is swept like those of killed processes.
 */
export function removeWorkFolder(folder: string, logger: Logger): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    logger.log("warn", "work folder not removed", { folder, error: reasonOf(error) });
  }
}
