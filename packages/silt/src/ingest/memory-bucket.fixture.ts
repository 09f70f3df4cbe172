/** A bucket in memory, for what is read from S3. */
import { SiltError, sha256Of } from "@silt/core";
import type { SourceBucket } from "./s3-source.ts";

export interface MemoryBucket extends SourceBucket {
  /** A test may put others in their places. */
  read: SourceBucket["read"];
  head: SourceBucket["head"];
  readonly objects: Map<
    string,
    { readonly bytes: Uint8Array; readonly metadata: Readonly<Record<string, string>> }
  >;
  /** Keys that may not be read, and those at which S3 fails. */
  readonly denied: Set<string>;
  readonly failing: Set<string>;
  put(key: string, bytes: Uint8Array, metadata?: Readonly<Record<string, string>>): void;
}

const etagOf = (bytes: Uint8Array) => `"${sha256Of(bytes).slice(0, 32)}"`;

export function memoryBucket(): MemoryBucket {
  const objects: MemoryBucket["objects"] = new Map();
  const denied = new Set<string>();
  const failing = new Set<string>();
  const failIfTold = (key: string) => {
    if (failing.has(key)) throw new SiltError("unavailable", `Cannot read "${key}": S3 is down`);
  };
  return {
    objects,
    denied,
    failing,
    put: (key, bytes, metadata = {}) => void objects.set(key, { bytes, metadata }),
    async read(key, { bytesMax }) {
      failIfTold(key);
      if (denied.has(key)) return { outcome: "denied", reason: "access denied" };
      const found = objects.get(key);
      if (found === undefined) return { outcome: "absent" };
      const etag = etagOf(found.bytes);
      const size = found.bytes.byteLength;
      const { metadata } = found;
      if (size > bytesMax) return { outcome: "too-large", size, metadata, etag };
      return { outcome: "found", ...found, sha256: sha256Of(found.bytes), etag };
    },
    async head(key) {
      failIfTold(key);
      if (denied.has(key)) return { outcome: "denied" };
      const found = objects.get(key);
      if (found === undefined) return { outcome: "absent" };
      return { outcome: "found", metadata: found.metadata, etag: etagOf(found.bytes) };
    },
    async list(prefix, { after = "", limit }) {
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after);
      return keys
        .sort()
        .slice(0, limit)
        .map((key) => ({ key }));
    },
  };
}
