/** Getting an object's bytes into a synced, checked file that can be linked to its final name. */
import { createHash } from "node:crypto";
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  futimesSync,
  openSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { type FileHandle, lstat, open, unlink } from "node:fs/promises";
import { SiltError, sha256Of } from "@silt/core";
import { codeOf, saysAbsent } from "./folder-error.ts";
import { tempPath } from "./temp-file.ts";

const CHUNK_BYTES = 1024 * 1024;
/** Stored files are written once; this keeps editors from changing them by mistake. */
const STORED_MODE = 0o444;

/** What the bytes must be, and when the store says that they came. */
export interface Expected {
  readonly key: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly nowMs: number;
}

function checkDigest(expected: Expected, bytes: number, sha256: string): void {
  if (bytes === expected.bytes && sha256 === expected.sha256) return;
  throw new SiltError(
    "corrupt",
    `Cannot store "${expected.key}": what arrived has ${bytes} bytes and SHA-256 ${sha256}, ` +
      `expected ${expected.bytes} bytes and ${expected.sha256}; nothing was stored`,
  );
}

/** Throws `corrupt` unless the bytes in memory are what was announced. */
export function checkBytes(expected: Expected, bytes: Uint8Array): void {
  checkDigest(expected, bytes.byteLength, sha256Of(bytes));
}

/** Writes checked bytes into a synced temporary file without yielding; returns its path. */
export function stageBytes(root: string, bytes: Uint8Array, expected: Expected): string {
  checkBytes(expected, bytes);
  const path = tempPath(root);
  const descriptor = openSync(path, "wx");
  try {
    for (let at = 0; at < bytes.byteLength; ) {
      at += writeSync(descriptor, bytes, at, bytes.byteLength - at);
    }
    fchmodSync(descriptor, STORED_MODE);
    futimesSync(descriptor, expected.nowMs / 1000, expected.nowMs / 1000);
    fsyncSync(descriptor);
  } catch (error) {
    unlinkSync(path);
    throw error;
  } finally {
    closeSync(descriptor);
  }
  return path;
}

/** Hashes the source, copying it to `target` when there is one; throws `corrupt` when it differs. */
async function hashInto(
  source: FileHandle,
  target: FileHandle | undefined,
  expected: Expected,
): Promise<void> {
  const hash = createHash("sha256");
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let bytes = 0;
  for (;;) {
    const { bytesRead } = await source.read(chunk, 0, CHUNK_BYTES, bytes);
    if (bytesRead === 0) break;
    const part = chunk.subarray(0, bytesRead);
    hash.update(part);
    await target?.writeFile(part);
    bytes += bytesRead;
    // A source that is longer than announced is not worth the disk.
    if (bytes > expected.bytes) break;
  }
  checkDigest(expected, bytes, hash.digest("hex"));
}

async function finish(file: FileHandle, nowMs: number): Promise<void> {
  await file.chmod(STORED_MODE);
  await file.utimes(nowMs / 1000, nowMs / 1000);
  await file.sync();
}

async function openSource(path: string, key: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (cause) {
    if (!saysAbsent(cause)) throw cause;
    throw new SiltError(
      "unavailable",
      `Cannot store "${key}": the file "${path}" to store is gone; make it again`,
      { cause },
    );
  }
}

/** Checks and syncs the given file itself, so that it can be linked; "denied" when it isn't ours. */
export async function stageInPlace(path: string, expected: Expected): Promise<"staged" | "denied"> {
  const source = await openSource(path, expected.key);
  try {
    // A link to a symbolic link would point back out of the store.
    if (!(await lstat(path)).isFile()) return "denied";
    await hashInto(source, undefined, expected);
    await finish(source, expected.nowMs);
    return "staged";
  } catch (error) {
    if (codeOf(error) === "EPERM" || codeOf(error) === "EROFS") return "denied";
    throw error;
  } finally {
    await source.close();
  }
}

/** Copies the given file into a checked, synced temporary file; returns its path. */
export async function stageCopy(root: string, path: string, expected: Expected): Promise<string> {
  const source = await openSource(path, expected.key);
  const temporary = tempPath(root);
  try {
    const target = await open(temporary, "wx");
    try {
      await hashInto(source, target, expected);
      await finish(target, expected.nowMs);
    } catch (error) {
      await unlink(temporary);
      throw error;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
  return temporary;
}
