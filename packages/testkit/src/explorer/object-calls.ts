/** The object store as calls on a world. ETags are the SHA-256 of the content. */
import { readFileSync } from "node:fs";
import {
  type GetOutcome,
  type HeadOutcome,
  type ListedObject,
  type ObjectSource,
  type PutCondition,
  type PutOutcome,
  type ReadOutcome,
  SiltError,
  sha256Of,
} from "@silt/core";
import { type Call, OTHER, reads, type Touch, writes } from "./call.ts";
import { type Vocabulary, valueIn, type World, withValue } from "./world.ts";

export interface StoredBytes {
  readonly bytes: Uint8Array;
  readonly etag: string;
}

const PREFIX = "object ";

export const objectName = (vocabulary: Vocabulary, key: string): number =>
  vocabulary.nameId(PREFIX + key);

/** The number of an object's content. */
export const contentId = (vocabulary: Vocabulary, bytes: Uint8Array): number => {
  const etag = sha256Of(bytes);
  return vocabulary.valueId(PREFIX + etag, { bytes, etag } satisfies StoredBytes);
};

export function objectIn(vocabulary: Vocabulary, world: World, key: string) {
  const value = valueIn(world, objectName(vocabulary, key));
  return value === 0 ? undefined : (vocabulary.valueOf(value) as StoredBytes);
}

/** Keys under a prefix, ascending. */
export function keysIn(vocabulary: Vocabulary, { entries }: World, prefix: string): string[] {
  const keys: string[] = [];
  for (let at = 0; at < entries.length; at += 2) {
    const name = vocabulary.nameOf(entries[at] as number);
    if (name.startsWith(PREFIX) && name.startsWith(prefix, PREFIX.length)) {
      keys.push(name.slice(PREFIX.length));
    }
  }
  return keys.sort();
}

function touchOf(key: string, writing: boolean): Touch {
  const what = /\/latest-pointer\.json$/.test(key)
    ? "pointer"
    : /\/(?:policy|collection)\.json$/.test(key)
      ? "config"
      : key.includes("/plans/")
        ? "plan"
        : "object";
  return writing ? writes(what, key) : reads(what, key);
}

const CHUNK_BYTES = 1024 * 1024;

async function* bodyOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES) {
    yield bytes.subarray(at, at + CHUNK_BYTES);
  }
}

const ABSENT = { outcome: "absent" } as const;

export class ObjectCalls {
  readonly #vocabulary: Vocabulary;
  readonly #nowMs: number;

  constructor(vocabulary: Vocabulary, nowMs: number) {
    this.#vocabulary = vocabulary;
    this.#nowMs = nowMs;
  }

  put(
    key: string,
    source: ObjectSource,
    options: { readonly condition: PutCondition; readonly bytes: number; readonly sha256: string },
  ): Call<PutOutcome> {
    const given = source.kind === "bytes" ? source.bytes : readFileSync(source.path);
    const bytes = Uint8Array.from(given);
    const value = contentId(this.#vocabulary, bytes);
    const name = objectName(this.#vocabulary, key);
    const { condition, sha256 } = options;
    const arrived = sha256Of(bytes);
    return {
      name: "objects.put",
      about: `${key} ${"ifMatch" in condition ? `if-match ${condition.ifMatch.slice(0, 6)}` : "if-absent"}`,
      touches: [touchOf(key, true)],
      detail: { kind: "put", key, value },
      apply: (world) => {
        if (bytes.byteLength !== options.bytes || arrived !== sha256) {
          const refuse = (): never => {
            throw new SiltError(
              "corrupt",
              `Cannot store "${key}": ${arrived} arrived, expected ${sha256}`,
            );
          };
          return { world, answer: "!corrupt", value: refuse };
        }
        const current = valueIn(world, name);
        const etag = (this.#vocabulary.valueOf(current) as StoredBytes | undefined)?.etag;
        const holds = "ifMatch" in condition ? etag === condition.ifMatch : current === 0;
        if (!holds) {
          const failed = { outcome: "condition-failed" } as const;
          return { world, answer: "condition-failed", value: () => failed };
        }
        const stored = { outcome: "stored", etag: sha256 } as const;
        return { world: withValue(world, name, value), answer: "stored", value: () => stored };
      },
    };
  }

  #reading<T>(
    name: string,
    key: string,
    result: (found: StoredBytes | undefined) => T,
    about = key,
  ): Call<T> {
    const id = objectName(this.#vocabulary, key);
    return {
      name,
      about,
      touches: [touchOf(key, false)],
      detail: OTHER,
      apply: (world) => {
        const value = valueIn(world, id);
        const found = this.#vocabulary.valueOf(value) as StoredBytes | undefined;
        return { world, answer: value === 0 ? "absent" : `#${value}`, value: () => result(found) };
      },
    };
  }

  get(
    key: string,
    { bytesMax, ifNoneMatch }: { readonly bytesMax: number; readonly ifNoneMatch?: string },
  ): Call<GetOutcome> {
    return this.#reading<GetOutcome>("objects.get", key, (found) => {
      if (found === undefined) return ABSENT;
      if (found.bytes.byteLength > bytesMax) {
        throw new SiltError("invalid", `Cannot read "${key}" whole: expected at most ${bytesMax}`);
      }
      if (found.etag === ifNoneMatch) return { outcome: "unchanged" };
      return { outcome: "found", bytes: Uint8Array.from(found.bytes), etag: found.etag };
    });
  }

  read(key: string): Call<ReadOutcome> {
    return this.#reading<ReadOutcome>("objects.read", key, (found) =>
      found === undefined
        ? ABSENT
        : { outcome: "found", bytes: found.bytes.byteLength, body: bodyOf(found.bytes) },
    );
  }

  head(key: string): Call<HeadOutcome> {
    return this.#reading<HeadOutcome>("objects.head", key, (found) =>
      found === undefined
        ? ABSENT
        : { outcome: "found", bytes: found.bytes.byteLength, modifiedAtMs: this.#nowMs },
    );
  }

  list(
    prefix: string,
    { after = "", limit }: { readonly after?: string; readonly limit: number },
  ): Call<readonly ListedObject[]> {
    return {
      name: "objects.list",
      about: prefix,
      touches: [reads(prefix.includes("/plans/") ? "plan" : "folder", prefix)],
      detail: OTHER,
      apply: (world) => {
        const keys = keysIn(this.#vocabulary, world, prefix)
          .filter((key) => key > after)
          .slice(0, limit);
        const value = () =>
          keys.map((key) => {
            const { bytes } = objectIn(this.#vocabulary, world, key) as StoredBytes;
            return { key, bytes: bytes.byteLength, modifiedAtMs: this.#nowMs };
          });
        return { world, answer: keys.join(" "), value };
      },
    };
  }

  delete(key: string): Call<void> {
    const name = objectName(this.#vocabulary, key);
    return {
      name: "objects.delete",
      about: key,
      touches: [touchOf(key, true)],
      detail: { kind: "delete", key },
      apply: (world) => ({ world: withValue(world, name, 0), answer: "", value: () => undefined }),
    };
  }
}
