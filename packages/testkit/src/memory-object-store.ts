import { readFile } from "node:fs/promises";
import { type Clock, type ObjectStore, SiltError, sha256Of } from "@silt/core";
import { folderNames } from "./folder-names.ts";

export interface StoredObject {
  readonly bytes: Uint8Array;
  readonly etag: string;
  readonly modifiedAtMs: number;
}

export interface MemoryObjectStore extends ObjectStore {
  /** What is stored, for tests that look at or damage it. */
  readonly stored: Map<string, StoredObject>;
}

const CHUNK_BYTES = 1024 * 1024;

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES) {
    yield bytes.slice(at, at + CHUNK_BYTES);
  }
}

/** An ObjectStore in a Map. ETags are the SHA-256 of the content. */
export function createMemoryObjectStore(clock: Clock): MemoryObjectStore {
  const stored = new Map<string, StoredObject>();
  return {
    stored,
    async put(key, source, { condition, bytes, sha256 }) {
      const given = source.kind === "bytes" ? source.bytes : await readFile(source.path);
      const content = Uint8Array.from(given);
      const arrived = sha256Of(content);
      if (content.byteLength !== bytes || arrived !== sha256) {
        throw new SiltError(
          "corrupt",
          `Cannot store "${key}": what arrived has ${content.byteLength} bytes and SHA-256 ${arrived}, expected ${bytes} bytes and ${sha256}`,
        );
      }
      // From here to the end nothing yields: compare and set are one step.
      const current = stored.get(key);
      const holds =
        "ifMatch" in condition ? current?.etag === condition.ifMatch : current === undefined;
      if (!holds) return { outcome: "condition-failed" };
      stored.set(key, { bytes: content, etag: sha256, modifiedAtMs: clock.nowMs() });
      return { outcome: "stored", etag: sha256 };
    },
    async get(key, { bytesMax, ifNoneMatch }) {
      const found = stored.get(key);
      if (found === undefined) return { outcome: "absent" };
      if (found.bytes.byteLength > bytesMax) {
        throw new SiltError(
          "invalid",
          `Cannot read "${key}" whole: it has ${found.bytes.byteLength} bytes, expected at most ${bytesMax}`,
        );
      }
      if (found.etag === ifNoneMatch) return { outcome: "unchanged" };
      return { outcome: "found", bytes: Uint8Array.from(found.bytes), etag: found.etag };
    },
    async read(key) {
      const found = stored.get(key);
      if (found === undefined) return { outcome: "absent" };
      return { outcome: "found", bytes: found.bytes.byteLength, body: chunksOf(found.bytes) };
    },
    async head(key) {
      const found = stored.get(key);
      if (found === undefined) return { outcome: "absent" };
      const { bytes, modifiedAtMs } = found;
      return { outcome: "found", bytes: bytes.byteLength, modifiedAtMs };
    },
    async list(prefix, { after = "", limit }) {
      const keys = [...stored.keys()].filter((key) => key.startsWith(prefix) && key > after);
      return keys
        .sort()
        .slice(0, limit)
        .map((key) => {
          const { bytes, modifiedAtMs } = stored.get(key) as StoredObject;
          return { key, bytes: bytes.byteLength, modifiedAtMs };
        });
    },
    async listFolders(prefix) {
      return folderNames(prefix, stored.keys());
    },
    async delete(key) {
      stored.delete(key);
    },
  };
}
