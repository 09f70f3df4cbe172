/** What the operations on a store's folder share. */
import { stat } from "node:fs/promises";
import type { Clock } from "@silt/core";
import { folderError, saysAbsent } from "./folder-error.ts";
import type { FolderMaker } from "./sync-folder.ts";

export interface FolderContext {
  readonly root: string;
  readonly clock: Clock;
  readonly folders: FolderMaker;
  /** Throws `unavailable` when the folder is no longer the store that was opened. */
  readonly checkRoot: () => void;
  /** Runs synchronous work while no process holds or takes the same lock. */
  readonly exclusively: <T>(action: string, work: () => T) => Promise<T>;
}

/** Tells the caller what a failed operation means; a folder that is gone explains everything else. */
function explain(context: FolderContext, action: string, key: string, error: unknown): never {
  if (saysAbsent(error)) context.checkRoot();
  throw folderError(action, key, error);
}

/** Runs one operation on the folder. */
export async function doing<T>(
  context: FolderContext,
  action: string,
  key: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    return explain(context, action, key, error);
  }
}

/** Runs synchronous work that no replacement or delete of any process runs beside. */
export function locked<T>(
  context: FolderContext,
  action: string,
  key: string,
  work: () => T,
): Promise<T> {
  return context.exclusively(`${action} "${key}"`, () => {
    try {
      return work();
    } catch (error) {
      return explain(context, action, key, error);
    }
  });
}

/** Size and time of the file at `path`; undefined when there is no file. */
export async function statFile(
  path: string,
): Promise<{ readonly bytes: number; readonly modifiedAtMs: number } | undefined> {
  try {
    const found = await stat(path);
    if (!found.isFile()) return undefined;
    return { bytes: found.size, modifiedAtMs: Math.round(found.mtimeMs) };
  } catch (error) {
    if (saysAbsent(error)) return undefined;
    throw error;
  }
}
