/** From paths to pictures: one at a time, in a stable order, so that millions of files need no memory. */
import type { Dirent } from "node:fs";
import { opendir, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { reasonOf, SiltError } from "@silt/core";
import { isImageName } from "@silt/embed";
import type { ImageFile, ImageRoot, WalkOptions } from "./image-source.ts";
import { isAbsent, isDenied } from "./read-source.ts";
import { rootOf } from "./source-uri.ts";

/** A picture by its real path, found under a folder. */
export function imageFile(path: string, folder: string): ImageFile {
  return { uri: pathToFileURL(path).href, root: rootOf(folder) };
}

interface Walk {
  readonly seen: Set<string>;
  readonly onDenied: WalkOptions["onDenied"];
}

/** Names of one folder are sorted up to so many; beyond, block by block. */
const SORTED_NAMES_MAX = 100_000;

/** Throws `invalid` for a path that doesn't exist, and for a file that is no picture by its name. */
export async function openRoot(path: string): Promise<ImageRoot> {
  const refuse = (state: string, cause?: unknown) =>
    new SiltError("invalid", `Cannot ingest "${path}": ${state}`, { cause });
  try {
    const real = await realpath(resolve(path));
    const info = await stat(real);
    const root = { path: real, uri: pathToFileURL(real).href.replace(/\/$/, "") };
    if (info.isDirectory()) return { kind: "folder", ...root };
    if (info.isFile() && isImageName(real)) return { kind: "file", ...root };
    throw refuse("it is no picture, expected a folder, PNG, JPEG, WebP, GIF, TIFF or AVIF");
  } catch (error) {
    if (error instanceof SiltError) throw error;
    throw refuse(isAbsent(error) ? "it does not exist" : reasonOf(error), error);
  }
}

/**
 * The pictures of files and folders. Dot files are left out, links are followed, each folder once. A
 * file that several paths lead to may come more than once.
 */
export async function* walkImages(
  roots: readonly ImageRoot[],
  { signal, onDenied }: WalkOptions = {},
): AsyncGenerator<ImageFile, void> {
  const walk: Walk = { seen: new Set(), onDenied };
  for (const { kind, path } of roots) {
    const folder = kind === "folder" ? path : dirname(path);
    const files = kind === "folder" ? walkFolder(path, walk) : [path];
    for await (const file of files) {
      signal?.throwIfAborted();
      yield imageFile(file, folder);
    }
  }
}

async function* walkFolder(folder: string, walk: Walk): AsyncGenerator<string, void> {
  if (walk.seen.has(folder)) return;
  walk.seen.add(folder);
  for await (const entry of entriesOf(folder, walk)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* walkFolder(path, walk);
    else if (entry.isFile() && isImageName(entry.name)) yield path;
    else if (entry.isSymbolicLink()) yield* followLink(path, walk);
  }
}

/** Where a link leads; nowhere for one that is broken or goes round in circles. */
async function* followLink(path: string, walk: Walk): AsyncGenerator<string, void> {
  let real: string;
  let isFolder: boolean;
  try {
    real = await realpath(path);
    const info = await stat(real);
    isFolder = info.isDirectory();
    if (!isFolder && !(info.isFile() && isImageName(real))) return;
  } catch (error) {
    if (isAbsent(error) || (error as NodeJS.ErrnoException).code === "ELOOP") return;
    throw unreadable(path, error);
  }
  if (isFolder) yield* walkFolder(real, walk);
  else yield real;
}

async function* entriesOf(folder: string, { onDenied }: Walk): AsyncGenerator<Dirent, void> {
  let block: Dirent[] = [];
  try {
    for await (const entry of await opendir(folder)) {
      if (entry.name.startsWith(".") || !mayMatter(entry)) continue;
      block.push(entry);
      if (block.length < SORTED_NAMES_MAX) continue;
      yield* block.sort(byName);
      block = [];
    }
  } catch (error) {
    const denied = isDenied(error) && onDenied !== undefined;
    if (denied) onDenied(folder, reasonOf(error));
    // A folder that went away while we walked holds nothing any more.
    else if (!isAbsent(error)) throw unreadable(folder, error);
  }
  yield* block.sort(byName);
}

function mayMatter(entry: Dirent): boolean {
  return entry.isDirectory() || entry.isSymbolicLink() || isImageName(entry.name);
}

const byName = (a: Dirent, b: Dirent) => (a.name < b.name ? -1 : 1);

function unreadable(path: string, error: unknown): SiltError {
  return new SiltError("unavailable", `Cannot walk "${path}": ${reasonOf(error)}`, {
    cause: error,
  });
}
