import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { SiltError } from "@silt/core";
import type { FileDigest } from "./file-digest.ts";

/**
 * Streams a body into a new file and hashes it on the way. Stops after `bytesMax`: a body that is
 * longer than registered is not worth its disk.
 */
export async function saveBody(
  body: AsyncIterable<Uint8Array>,
  path: string,
  bytesMax: number,
): Promise<FileDigest> {
  const hash = createHash("sha256");
  let bytes = 0;
  const descriptor = openSync(path, "wx");
  try {
    for await (const chunk of body) {
      bytes += chunk.byteLength;
      hash.update(chunk);
      if (bytes > bytesMax) break;
      for (let at = 0; at < chunk.byteLength; ) {
        at += writeSync(descriptor, chunk, at, chunk.byteLength - at);
      }
    }
  } catch (error) {
    throw environmentError("write", path, error);
  } finally {
    closeSync(descriptor);
  }
  return { bytes, sha256: hash.digest("hex") };
}

/** Makes the bytes of a file durable. */
export function syncFile(path: string): void {
  const descriptor = openSync(path, "r+");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** A failed file operation as an error of the environment, which changes nothing and may be retried. */
export function environmentError(action: string, path: string, cause: unknown): SiltError {
  if (cause instanceof SiltError) return cause;
  const code = (cause as NodeJS.ErrnoException).code;
  const advice =
    code === "ENOSPC"
      ? "the disk is full; free some space and try again"
      : `${(cause as Error).message ?? cause}`;
  return new SiltError("unavailable", `Cannot ${action} "${path}": ${advice}`, { cause });
}
