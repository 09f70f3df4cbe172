/** Files in a folder that processes of several users share, each with a umask of its own. */
import { accessSync, chmodSync, constants } from "node:fs";
import { link } from "node:fs/promises";

/** The folder says who may come to its files; those who may, read them. */
export const SHARED_FILE_MODE = 0o644;

/** Links a file of this machine instead of copying it; false where the file system cannot. */
export async function linkQuietly(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (["EXDEV", "EPERM", "EMLINK", "EACCES", "ENOENT"].includes(codeOf(error))) return false;
    throw error;
  }
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException | undefined)?.code ?? "";

/** True when a file or folder is somebody else's, and kept from this user. */
export const isKeptFromUs = (error: unknown): boolean =>
  ["EACCES", "EPERM"].includes(codeOf(error));

/** Undefined when the file, or the one that must make room for it, is somebody else's and kept from us. */
export function unlessDenied<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (isKeptFromUs(error) || isKeptFromUs((error as Error).cause)) return undefined;
    throw error;
  }
}

/** Gives a file of this user the mode of shared ones. */
export function letOthersRead(path: string): void {
  try {
    chmodSync(path, SHARED_FILE_MODE);
  } catch (error) {
    // Somebody else has put his own there, or evicted it.
    if (!isKeptFromUs(error) && codeOf(error) !== "ENOENT") throw error;
  }
}

/** False for a file that is gone, too. */
export function mayRead(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
