/**
 * Segments on this machine's disk, by the SHA-256 of their content, so that all processes share them.
 * A file appears under its name only when it is whole and verified; each process hashes it once more
 * before it trusts it; a bad one, or one that may not be read, is put aside and fetched again.
 * Who may see the files is said by the folder: they are readable for whoever comes there, whatever
 * the umask of the process that fetched them.
 */
import { randomUUID } from "node:crypto";
import { existsSync, renameSync, rmSync, statSync } from "node:fs";
import { chmod, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Logger, type ObjectStore, type SegmentDescriptor, SiltError } from "@silt/core";
import {
  environmentError,
  hashFile,
  hashFileInThread,
  openSegmentFile,
  type SegmentFile,
  saveBody,
} from "@silt/segment";
import { evictCache, markUsed } from "./evict-cache.ts";
import {
  isKeptFromUs,
  letOthersRead,
  linkQuietly,
  mayRead,
  SHARED_FILE_MODE,
  unlessDenied,
} from "./shared-file.ts";
import type { VectorBlock, VectorBlockOptions } from "./vector-block.ts";
import { loadVectorBlock } from "./vector-block.ts";
import { openVectorFile, writeVectorFile } from "./vector-file.ts";

export interface SegmentCacheOptions {
  /** A local folder that only readers write to; made when absent. */
  readonly folder: string;
  readonly logger: Logger;
  /** Files that were not used for longest go when the folder holds more. Default 20 GiB. */
  readonly bytesMax?: number | undefined;
}

export const CACHE_BYTES_MAX_DEFAULT = 20 * 1024 ** 3;
/** Below this a file is hashed right here: a worker thread takes longer to start. */
const INLINE_HASH_BYTES_MAX = 16 * 1024 * 1024;
/** Below this many rows a vector file saves nothing. */
const VECTOR_FILE_ROWS_MIN = 2_000;
const FETCHES_MAX = 2;

export type OpenSegmentOutcome =
  | { readonly outcome: "opened"; readonly file: SegmentFile }
  /** The store says that the object is absent: a newer pointer may explain it. */
  | { readonly outcome: "absent" };

/** What a look at a cached file tells; of one that is gone or may not be read nobody knows. */
type Look = "sound" | "damaged" | "unknown";

export interface LoadedVectors {
  readonly block: VectorBlock;
  readonly rowids: ArrayLike<number>;
}

export class SegmentCache {
  /** Where the files lie. */
  readonly folder: string;
  readonly #logger: Logger;
  readonly #bytesMax: number;
  /** What this process has verified, or is verifying, by hash. */
  readonly #verified = new Map<string, Promise<Look>>();
  /** Hashes whose file belongs to somebody who lets nobody else read or replace it. */
  readonly #inTheWay = new Set<string>();

  constructor(options: SegmentCacheOptions) {
    this.folder = options.folder;
    this.#logger = options.logger;
    this.#bytesMax = options.bytesMax ?? CACHE_BYTES_MAX_DEFAULT;
  }

  /**
   * Opens a segment, fetching it unless it is here. `meanwhile` is work for this thread while another
   * one hashes. Throws `corrupt` when what the store has is damaged.
   */
  async open(
    objects: ObjectStore,
    descriptor: SegmentDescriptor,
    meanwhile: () => void = () => {},
  ): Promise<OpenSegmentOutcome> {
    const { sha256, key } = descriptor.object;
    let damaged = false;
    for (let fetches = 0; fetches <= FETCHES_MAX; fetches++) {
      const path = this.#pathOf(sha256, "sqlite");
      if (existsSync(path)) {
        const looking = this.#look(path, sha256);
        meanwhile();
        const seen = await looking;
        const file = seen === "sound" ? this.#openNow(path, sha256) : undefined;
        if (file !== undefined) return { outcome: "opened", file };
        if (seen !== "sound" && this.#putAside(path, sha256)) damaged ||= seen === "damaged";
      }
      const fetched = await this.#fetch(objects, descriptor);
      if (fetched === "absent") return { outcome: "absent" };
      damaged ||= fetched === "damaged";
    }
    // Said only when bytes were seen that are wrong; a file that others evict is no damage.
    const [kind, state] = damaged
      ? ([
          "corrupt",
          'it does not have its registered hash; run "silt verify" and restore it',
        ] as const)
      : (["unavailable", "other processes evict it from the cache; try again"] as const);
    throw new SiltError(kind, `Cannot read segment "${key}": ${state}`);
  }

  /** The vectors of a segment if there is a sound vector file. Not to be trusted before {@link open} is. */
  findVectors(
    descriptor: SegmentDescriptor,
    dimension: number,
    options: VectorBlockOptions,
  ): LoadedVectors | undefined {
    const { sha256 } = descriptor.object;
    const path = this.#pathOf(sha256, "vectors");
    return unlessDenied(() => {
      const found = openVectorFile(path, { dimension, segmentSha256: sha256 }, options);
      if (found.outcome === "opened") {
        markUsed(path);
        return found;
      }
      if (found.outcome === "absent") return undefined;
      this.#logger.log("warn", "vector file put aside", { path, reason: found.reason });
      // Whatever lies there, for a folder would be in the way for good.
      rmSync(path, { recursive: true, force: true });
      return undefined;
    });
  }

  /** The vectors of an open segment, from its vector file, which is made when it is missing or bad. */
  loadVectors(
    file: SegmentFile,
    descriptor: SegmentDescriptor,
    dimension: number,
    options: VectorBlockOptions,
  ): LoadedVectors {
    const count = descriptor.rows.put;
    if (count < VECTOR_FILE_ROWS_MIN) return loadFromRows(file, count, dimension, options);
    const found = this.findVectors(descriptor, dimension, options);
    if (found !== undefined) return found;
    const { sha256 } = descriptor.object;
    const path = this.#pathOf(sha256, "vectors");
    unlessDenied(() => {
      writeVectorFile(path, { dimension, segmentSha256: sha256 }, vectorRows(file, dimension));
      letOthersRead(path);
    });
    const made = this.findVectors(descriptor, dimension, options);
    if (made !== undefined) return made;
    // Others may have evicted it at once, or keep it from being replaced; the rows are always there.
    return loadFromRows(file, count, dimension, options);
  }

  #pathOf(sha256: string, ending: string): string {
    const own = this.#inTheWay.has(sha256) ? `.${process.getuid?.() ?? "own"}` : "";
    return join(this.folder, `${sha256}${own}.${ending}`);
  }

  /** Whether the file has its hash, which is looked at once a process. */
  #look(path: string, sha256: string): Promise<Look> {
    const known = this.#verified.get(sha256);
    if (known !== undefined) return known;
    const looking = this.#hash(path).then(
      (hash) => (hash === undefined ? "unknown" : hash === sha256 ? "sound" : "damaged"),
      (error) => {
        this.#verified.delete(sha256);
        throw error;
      },
    );
    this.#verified.set(sha256, looking);
    return looking;
  }

  async #hash(path: string): Promise<string | undefined> {
    try {
      const { size } = statSync(path);
      if (size <= INLINE_HASH_BYTES_MAX) return hashFile(path).sha256;
      return (await hashFileInThread(path)).sha256;
    } catch (error) {
      // Evicted by another process since, or of one that lets nobody read it: fetch it again.
      if (!mayRead(path)) return undefined;
      throw environmentError("read", path, error);
    }
  }

  /** Opens a file that was verified; undefined when others have taken it away since. */
  #openNow(path: string, sha256: string): SegmentFile | undefined {
    try {
      markUsed(path);
      return openSegmentFile(path, this.#logger);
    } catch (error) {
      if (mayRead(path)) throw error;
      this.#verified.delete(sha256);
      return undefined;
    }
  }

  /**
   * False when the file is gone: then nobody knows whether it was damaged. One that belongs to somebody
   * else and may not be moved stays; this process then has its own under another name.
   */
  #putAside(path: string, sha256: string): boolean {
    this.#verified.delete(sha256);
    this.#logger.log("warn", "cached segment put aside", { path });
    try {
      renameSync(path, `${path}.bad`);
      return true;
    } catch (error) {
      if (!existsSync(path)) return false;
      if (!isKeptFromUs(error) || this.#inTheWay.has(sha256)) {
        throw environmentError("put aside", path, error);
      }
      this.#inTheWay.add(sha256);
      return true;
    }
  }

  async #fetch(
    objects: ObjectStore,
    { object }: SegmentDescriptor,
  ): Promise<"fetched" | "absent" | "damaged"> {
    const found = await objects.read(object.key);
    if (found.outcome === "absent") return "absent";
    await this.#makeFolder();
    const path = this.#pathOf(object.sha256, "sqlite");
    // Not by process id: machines that share a folder have the same ones.
    const temporary = `${path}.${randomUUID()}.tmp`;
    try {
      if (found.file !== undefined && (await linkQuietly(found.file, temporary))) {
        // Its bytes are hashed by `open`, like those of any cached file.
        await rename(temporary, path);
      } else {
        const saved = await saveBody(found.body, temporary, object.bytes);
        if (saved.bytes !== object.bytes || saved.sha256 !== object.sha256) return "damaged";
        await chmod(temporary, SHARED_FILE_MODE);
        await rename(temporary, path);
      }
    } catch (error) {
      // Somebody else was faster, and keeps his file from being replaced: it is looked at next.
      if (isKeptFromUs(error) && existsSync(path)) return "fetched";
      throw environmentError("fill the cache at", path, error);
    } finally {
      await rm(temporary, { force: true });
    }
    evictCache(this.folder, this.#bytesMax, this.#logger, path);
    return "fetched";
  }

  async #makeFolder(): Promise<void> {
    try {
      await mkdir(this.folder, { recursive: true });
    } catch (error) {
      throw environmentError("make the cache folder", this.folder, error);
    }
  }
}

function* vectorRows(file: SegmentFile, dimension: number) {
  for (const { row, embedding } of file.vectors(dimension)) yield { rowid: row, embedding };
}

function loadFromRows(
  file: SegmentFile,
  count: number,
  dimension: number,
  options: VectorBlockOptions,
): LoadedVectors {
  const rowids: number[] = [];
  const embeddings: Uint8Array[] = [];
  for (const { row, embedding } of file.vectors(dimension)) {
    rowids.push(row);
    embeddings.push(embedding);
  }
  if (rowids.length !== count) {
    throw new SiltError(
      "corrupt",
      `Cannot read segment "${file.path}": it has ${rowids.length} records, its manifest says ${count}`,
    );
  }
  const block = loadVectorBlock(
    {
      dimension,
      count,
      read(target, firstRow, rows) {
        const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
        for (let row = 0; row < rows; row++) {
          bytes.set(embeddings[firstRow + row] as Uint8Array, row * dimension * 4);
        }
      },
    },
    options,
  );
  return { block, rowids };
}
