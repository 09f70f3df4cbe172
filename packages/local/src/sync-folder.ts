import { closeSync, fsyncSync, openSync } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { codeOf } from "./folder-error.ts";

/** How many folders a {@link FolderMaker} remembers as durable before it starts over. */
const FOLDERS_MAX = 10_000;

/** Makes the entries of a folder durable: without it a linked or renamed file can vanish at power loss. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders; NTFS journals its entries.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** {@link syncFolder} for what must not yield, and for files. */
export function syncNow(path: string): void {
  if (process.platform === "win32") return;
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export interface FolderMaker {
  /** Makes `folder` and its parents below the root, each durable in its parent. */
  make(folder: string): Promise<void>;
  /** The folder may be gone: look again next time. */
  forget(folder: string): void;
}

/** Makes folders below `root`, which must exist; `checkRoot` throws when it is not the store's. */
export function createFolderMaker(root: string, checkRoot: () => void): FolderMaker {
  const durable = new Set<string>();
  return {
    async make(folder) {
      if (durable.has(folder)) return;
      // Else an unmounted store would grow anew in its empty mount point.
      checkRoot();
      let at = root;
      for (const name of relative(root, folder).split(sep)) {
        const parent = at;
        at = join(at, name);
        if (durable.has(at)) continue;
        try {
          await mkdir(at);
        } catch (error) {
          if (codeOf(error) !== "EEXIST") throw error;
        }
        // Also when another process made it: it may have died before its sync.
        await syncFolder(parent);
        if (durable.size >= FOLDERS_MAX) durable.clear();
        durable.add(at);
      }
    },
    forget(folder) {
      durable.delete(folder);
    },
  };
}

/** The folders between `path` and `root`, innermost first, without `root`. */
export function foldersAbove(root: string, path: string): readonly string[] {
  const folders: string[] = [];
  for (let at = dirname(path); at !== root && at.startsWith(root + sep); at = dirname(at)) {
    folders.push(at);
  }
  return folders;
}
