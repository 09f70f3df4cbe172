import { join } from "node:path";
import { SiltError } from "@silt/core";

const SEGMENT = /^[A-Za-z0-9._-]{1,255}$/;
/** S3's limit, so that every key that works here works there. */
const KEY_LENGTH_MAX = 1_024;

export const MARKER_NAME = "silt-store.json";
export const LOG_NAME = "log.sqlite";
export const TEMP_FOLDER = "tmp";
const RESERVED: ReadonlySet<string> = new Set([
  MARKER_NAME,
  TEMP_FOLDER,
  // Nothing but SQLite may open these: any close of them drops the POSIX locks of the process.
  ...["", "-wal", "-shm", "-journal"].map((suffix) => LOG_NAME + suffix),
]);

/** True for what a store keeps at the top of its folder besides objects. */
export function isReservedName(name: string): boolean {
  return RESERVED.has(name.toLowerCase());
}

/** True for names that can be a part of a key. */
export function isKeySegment(name: string): boolean {
  return SEGMENT.test(name) && name !== "." && name !== "..";
}

/** Throws `invalid` unless every part of the key is a plain file name and the first is not ours. */
export function checkObjectKey(key: string): void {
  const segments = key.split("/");
  const stray = segments.find((segment) => !isKeySegment(segment));
  if (stray !== undefined || key.length > KEY_LENGTH_MAX) {
    throw new SiltError(
      "invalid",
      `Cannot use key ${JSON.stringify(key.slice(0, 200))}: ${stray === undefined ? "it is too long" : `part ${JSON.stringify(stray)} is not allowed`}, ` +
        `expected at most ${KEY_LENGTH_MAX} characters, parts of [A-Za-z0-9._-] and no "." or ".."`,
    );
  }
  if (isReservedName(segments[0] as string)) {
    throw new SiltError("invalid", `Cannot use key "${key}": "${segments[0]}" is the store's own`);
  }
}

/** The file that holds the object under `key`. Throws `invalid` for a key that is no safe path. */
export function objectPath(root: string, key: string): string {
  checkObjectKey(key);
  return join(root, ...key.split("/"));
}
