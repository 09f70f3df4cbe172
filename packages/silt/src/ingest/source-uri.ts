import { realpath } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isAbsent } from "./read-source.ts";

/** Guards of pictures are shared by all pipelines of this family. */
export const IMAGE_FAMILY = "images";

/** The one name of a file: of its real path. What is gone keeps the name that it had. */
export async function sourceUri(path: string): Promise<string> {
  return pathToFileURL(await realPathOf(resolve(path))).href;
}

/** Where a file URI points, and undefined for a URI that names no file of this machine. */
export function pathOfUri(uri: string): string | undefined {
  try {
    return fileURLToPath(uri);
  } catch {
    return undefined;
  }
}

/** The real path, also of what is gone, as far as its folders are still there. */
export async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    const parent = dirname(path);
    if (!isAbsent(error) || parent === path) return path;
    return join(await realPathOf(parent), basename(path));
  }
}

/** Two hosts may share a path: a guard says on which one its file was read, and below which folder. */
export function rootOf(folder: string): string {
  return `${hostname()}:${folder}`;
}

/** The folder of {@link rootOf}; undefined for one of another host. */
export function folderOfRoot(root: string): string | undefined {
  return isOfThisHost(root) ? root.slice(`${hostname()}:`.length) : undefined;
}

/** True when the file was last read on this machine. */
export function isOfThisHost(root: string | null): boolean {
  return root?.startsWith(`${hostname()}:`) === true;
}
