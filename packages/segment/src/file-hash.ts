import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { SiltError } from "@silt/core";

const CHUNK_BYTES = 1024 * 1024;

/** The bytes of a file, a chunk at a time; a chunk is only valid until the next one is asked for. */
export function* fileChunks(path: string): Generator<Uint8Array> {
  const descriptor = openSync(path, "r");
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    for (;;) {
      const bytes = readSync(descriptor, chunk, 0, CHUNK_BYTES, null);
      if (bytes === 0) return;
      yield chunk.subarray(0, bytes);
    }
  } finally {
    closeSync(descriptor);
  }
}

export interface FileDigest {
  readonly bytes: number;
  readonly sha256: string;
}

/** Length and SHA-256 of a file, in bounded memory. Blocks: for small files and worker threads. */
export function hashFile(path: string): FileDigest {
  const hash = createHash("sha256");
  let bytes = 0;
  for (const chunk of fileChunks(path)) {
    hash.update(chunk);
    bytes += chunk.byteLength;
  }
  return { bytes, sha256: hash.digest("hex") };
}

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
