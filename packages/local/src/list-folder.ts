import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type ListedObject, SiltError } from "@silt/core";
import { saysAbsent } from "./folder-error.ts";
import { isKeySegment, isReservedName } from "./object-path.ts";

interface Page {
  readonly root: string;
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
  readonly found: ListedObject[];
}

/** Objects of a store's folder in the order of their whole keys, as S3 lists them. */
export async function listFolder(
  root: string,
  prefix: string,
  options: { readonly after?: string; readonly limit: number },
): Promise<readonly ListedObject[]> {
  const folder = folderOf(prefix);
  const { after = "", limit } = options;
  const page: Page = { root, prefix, after, limit, found: [] };
  await walk(page, folder);
  return page.found;
}

/** What a prefix has up to its last slash. Throws `invalid` when that leads out of the store. */
function folderOf(prefix: string): string {
  const folders = prefix.split("/").slice(0, -1);
  if (!folders.every(isKeySegment)) {
    throw new SiltError("invalid", `Cannot list "${prefix}": it is not the beginning of a key`);
  }
  return folders.map((folder) => `${folder}/`).join("");
}

/** Names of the folders right under `prefix` in which objects lie: those that are empty are nothing on S3. */
export async function listFolders(root: string, prefix: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const [name, entry] of await readSorted(root, folderOf(prefix))) {
    if (!entry.isDirectory()) continue;
    const [first] = await listFolder(root, prefix + name, { limit: 1 });
    if (first !== undefined) names.push(entry.name);
  }
  return names.sort();
}

/** Adds what lies under `at` ("" or a key prefix that ends with "/") until the page is full. */
async function walk(page: Page, at: string): Promise<void> {
  for (const [name, entry] of await readSorted(page.root, at)) {
    if (page.found.length >= page.limit) return;
    const key = at + name;
    if (!key.startsWith(page.prefix) && !page.prefix.startsWith(key)) continue;
    if (entry.isDirectory()) {
      const mayHoldLater = key > page.after || page.after.startsWith(key);
      if (mayHoldLater) await walk(page, key);
    } else if (entry.isFile() && key > page.after && key.startsWith(page.prefix)) {
      await add(page, key);
    }
  }
}

/** Entries with folders named "name/", because that is how their keys sort: "a-b" before "a/b". */
async function readSorted(
  root: string,
  at: string,
): Promise<readonly (readonly [string, Dirent])[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(join(root, at), { withFileTypes: true });
  } catch (error) {
    if (saysAbsent(error)) return [];
    throw error;
  }
  return entries
    .filter(({ name }) => isKeySegment(name) && !(at === "" && isReservedName(name)))
    .map((entry) => [entry.isDirectory() ? `${entry.name}/` : entry.name, entry] as const)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

async function add(page: Page, key: string): Promise<void> {
  try {
    const { size, mtimeMs } = await stat(join(page.root, key));
    page.found.push({ key, bytes: size, modifiedAtMs: Math.round(mtimeMs) });
  } catch (error) {
    // It was deleted since the folder was read.
    if (!saysAbsent(error)) throw error;
  }
}
