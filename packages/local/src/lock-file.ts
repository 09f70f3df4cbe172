import { lstatSync } from "node:fs";
import { reasonOf, SiltError } from "@silt/core";
import Database from "better-sqlite3";
import { isBusy } from "./sqlite-error.ts";

/**
 * Takes the lock that a file stands for, until it is disposed or this process ends, however it ends:
 * the system frees it, and no number of a process has to be believed. Undefined when anyone has it,
 * also in this process. The file stays, and nothing but this function may open it: closing it would
 * free the lock. Throws `unavailable` for what is no such file, or cannot be locked.
 */
export function takeFileLock(path: string): Disposable | undefined {
  let db: Database.Database | undefined;
  try {
    // A pipe would be waited for, and what a link leads to is not ours.
    const isFile = lstatSync(path, { throwIfNoEntry: false })?.isFile() ?? true;
    if (!isFile) throw new TypeError("it is no file");
    db = new Database(path, { timeout: 0 });
    db.exec("BEGIN EXCLUSIVE");
    const holder = db;
    return { [Symbol.dispose]: () => void holder.close() };
  } catch (cause) {
    db?.close();
    if (isBusy(cause)) return undefined;
    throw new SiltError("unavailable", `Cannot take lock "${path}": ${reasonOf(cause)}`, { cause });
  }
}
