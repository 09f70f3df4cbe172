import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { reasonOf, SiltError } from "@silt/core";
import { takeFileLock } from "@silt/local";

const LOCK_NAME = "lock";
/** Says who has the lock, for messages; what it says is never relied on. */
const OWNER_NAME = "owner";

/**
 * Takes the lock of a journal folder; disposing it gives it back, and so does the end of this process.
 * Throws `unavailable` while another writer has it.
 */
export function lockJournal(folder: string): Disposable {
  const ownerPath = join(folder, OWNER_NAME);
  let lock: Disposable | undefined;
  try {
    lock = takeFileLock(join(folder, LOCK_NAME));
    if (lock !== undefined) writeFileSync(ownerPath, String(process.pid));
  } catch (cause) {
    lock?.[Symbol.dispose]();
    const message = `Cannot lock journal "${folder}": ${reasonOf(cause)}`;
    throw new SiltError("unavailable", message, { cause });
  }
  if (lock !== undefined) return lock;
  throw new SiltError(
    "unavailable",
    `Cannot open journal "${folder}": ${ownerOf(ownerPath)} writes to it; close that writer, or use another folder`,
  );
}

function ownerOf(path: string): string {
  try {
    return `process ${Number.parseInt(readFileSync(path, "utf8"), 10)}`;
  } catch {
    return "another writer";
  }
}
