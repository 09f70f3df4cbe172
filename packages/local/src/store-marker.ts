import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { encodeJson, FORMAT, type Random, reasonOf, SiltError, seal, shortId } from "@silt/core";
import { codeOf, folderError, saysAbsent } from "./folder-error.ts";
import { MARKER_NAME } from "./object-path.ts";
import { syncNow } from "./sync-folder.ts";
import { tempPath } from "./temp-file.ts";

/** `silt-store.json`: says that a folder is a store, and which. */
export interface StoreMarker {
  readonly format: typeof FORMAT;
  readonly requires: readonly string[];
  readonly storeKind: "folder";
  readonly folderId: string;
  readonly selfSha256: string;
}

/** The marker of the store in `root`; undefined when there is none. Throws for one of a later format. */
export function readStoreMarker(root: string): StoreMarker | undefined {
  const path = join(root, MARKER_NAME);
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (saysAbsent(error)) return undefined;
    throw folderError("open store", path, error);
  }
  let marker: Partial<StoreMarker> | null;
  try {
    marker = JSON.parse(bytes.toString());
  } catch (cause) {
    throw new SiltError("corrupt", `Cannot read "${path}": it is not JSON (${reasonOf(cause)})`, {
      cause,
    });
  }
  if (marker?.format !== FORMAT || !isEmptyArray(marker.requires)) {
    throw new SiltError(
      "invalid",
      `Cannot open store by "${path}": its format is ${marker?.format} and it requires ${JSON.stringify(marker?.requires)}, ` +
        `expected format ${FORMAT} without requirements; upgrade Silt`,
    );
  }
  if (marker.storeKind !== "folder" || typeof marker.folderId !== "string") {
    throw new SiltError("corrupt", `Cannot read "${path}": it is not the marker of a store folder`);
  }
  const { selfSha256: _, ...rest } = marker;
  if (!bytes.equals(encodeJson(seal(rest)))) {
    throw new SiltError(
      "corrupt",
      `Cannot read "${path}": its content does not match its own hash`,
    );
  }
  return marker as StoreMarker;
}

function isEmptyArray(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** Writes the marker unless another process was faster; returns the one that is there then. */
export function writeStoreMarker(root: string, random: Random): StoreMarker {
  const folderId = shortId(random.bytes(8));
  const marker: StoreMarker = seal({
    format: FORMAT as 1,
    requires: [],
    storeKind: "folder" as const,
    folderId,
  });
  const temporary = tempPath(root);
  const descriptor = openSync(temporary, "wx", 0o644);
  try {
    writeSync(descriptor, encodeJson(marker));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  try {
    linkSync(temporary, join(root, MARKER_NAME));
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  } finally {
    unlinkSync(temporary);
  }
  syncNow(root);
  return readStoreMarker(root) ?? marker;
}

/**
 * Throws `unavailable` unless the folder still is the store that was opened. A moved or unmounted
 * folder must never look like missing objects.
 */
export function checkStoreMarker(root: string, expected: StoreMarker): void {
  const marker = readStoreMarker(root);
  if (marker?.folderId === expected.folderId) return;
  throw new SiltError(
    "unavailable",
    `Cannot use store "${root}": ${marker === undefined ? "the folder is gone or no longer a store" : "another store lies there now"}; ` +
      "mount it or move it back, then try again",
  );
}
