import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

const CHUNK_BYTES = 1024 * 1024;

/** The bytes of a file, a chunk at a time; a chunk is only valid until the next one is asked for. */
export function* fileChunks(path: string): Generator<Uint8Array> {
  const descriptor = openSync(path, "r");
  try {
    const { size } = fstatSync(descriptor);
    const chunk = Buffer.allocUnsafe(Math.max(1, Math.min(size, CHUNK_BYTES)));
    for (;;) {
      const bytes = readSync(descriptor, chunk, 0, chunk.byteLength, null);
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
