/**
 * Objects as files of a folder. Put-if-absent is `link()` of a synced file, so that a key appears
 * whole or not at all; put-if-match compares, writes, syncs and renames while the log database is
 * locked for writing; folders are synced before a put is acknowledged.
 */
import { rmdirSync, unlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import {
  type GetOutcome,
  type HeadOutcome,
  type ObjectStore,
  type ReadOutcome,
  SiltError,
  sha256Of,
} from "@silt/core";
import { openBody, openDescriptor } from "./file-body.ts";
import { doing, type FolderContext, locked, statFile } from "./folder-context.ts";
import { codeOf, saysAbsent } from "./folder-error.ts";
import { listFolder, listFolders } from "./list-folder.ts";
import { objectPath } from "./object-path.ts";
import { putObject } from "./put-object.ts";
import { createFolderMaker, foldersAbove, syncNow } from "./sync-folder.ts";

export type FolderObjectStoreOptions = Pick<FolderContext, "clock" | "checkRoot" | "exclusively">;

/** An ObjectStore in an existing store folder. ETags are the SHA-256 of the content. */
export function createFolderObjectStore(
  root: string,
  options: FolderObjectStoreOptions,
): ObjectStore {
  const folders = createFolderMaker(root, options.checkRoot);
  const context: FolderContext = { ...options, root, folders };
  return {
    put: (key, source, asked) => putObject(context, key, source, asked),
    get: (key, asked) => getObject(context, key, asked),
    read: (key) => readObject(context, key),
    head: (key) => headObject(context, key),
    list: (prefix, page) =>
      doing(context, "list", prefix, async () => {
        const found = await listFolder(root, prefix, page);
        if (found.length === 0) context.checkRoot();
        return found;
      }),
    listFolders: (prefix) =>
      doing(context, "list", prefix, async () => {
        const names = await listFolders(root, prefix);
        if (names.length === 0) context.checkRoot();
        return names;
      }),
    delete: (key) => deleteObject(context, key),
  };
}

/** Only said after a look at the folder itself. */
function absent(context: FolderContext): { readonly outcome: "absent" } {
  context.checkRoot();
  return { outcome: "absent" };
}

async function getObject(
  context: FolderContext,
  key: string,
  asked: { readonly bytesMax: number; readonly ifNoneMatch?: string },
): Promise<GetOutcome> {
  const path = objectPath(context.root, key);
  return doing(context, "read", key, async () => {
    const bytes = await readSmall(path, key, asked.bytesMax);
    if (bytes === undefined) return absent(context);
    const etag = sha256Of(bytes);
    return etag === asked.ifNoneMatch
      ? { outcome: "unchanged" }
      : { outcome: "found", bytes, etag };
  });
}

async function readObject(context: FolderContext, key: string): Promise<ReadOutcome> {
  const path = objectPath(context.root, key);
  return doing(context, "read", key, async () => {
    const found = await statFile(path);
    if (found === undefined) return absent(context);
    let descriptor: number;
    try {
      descriptor = await openDescriptor(path);
    } catch (error) {
      if (saysAbsent(error)) return absent(context);
      throw error;
    }
    return {
      outcome: "found",
      bytes: found.bytes,
      body: openBody(descriptor, key, found.bytes),
      file: path,
    };
  });
}

async function headObject(context: FolderContext, key: string): Promise<HeadOutcome> {
  const path = objectPath(context.root, key);
  return doing(context, "look at", key, async () => {
    const found = await statFile(path);
    return found === undefined ? absent(context) : { outcome: "found", ...found };
  });
}

/** Locked, for a replacement must not bring back what was deleted meanwhile. */
async function deleteObject(context: FolderContext, key: string): Promise<void> {
  const path = objectPath(context.root, key);
  await locked(context, "delete", key, () => {
    try {
      unlinkSync(path);
    } catch (error) {
      if (!saysAbsent(error)) throw error;
      context.checkRoot();
      return;
    }
    syncNow(dirname(path));
    pruneFolders(context, path);
  });
}

async function readSmall(
  path: string,
  key: string,
  bytesMax: number,
): Promise<Uint8Array | undefined> {
  if ((await statFile(path)) === undefined) return undefined;
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, "r");
  } catch (error) {
    if (saysAbsent(error)) return undefined;
    throw error;
  }
  try {
    const { size } = await file.stat();
    if (size <= bytesMax) return await file.readFile();
    throw new SiltError(
      "invalid",
      `Cannot read "${key}" whole: it has ${size} bytes, expected at most ${bytesMax}`,
    );
  } finally {
    await file.close();
  }
}

/** Removes the folders that a delete has left empty, for nothing else ever would. */
function pruneFolders({ root, folders }: FolderContext, path: string): void {
  for (const folder of foldersAbove(root, path)) {
    try {
      rmdirSync(folder);
    } catch (error) {
      if (["ENOTEMPTY", "EEXIST", "ENOENT"].includes(codeOf(error) ?? "")) return;
      throw error;
    }
    folders.forget(folder);
    syncNow(dirname(folder));
  }
}
