/**
 * Delta bundles: a plain tar of exactly two regular files, `delta.json` and `delta.sqlite`, in this
 * order. Nothing is ever extracted by a path that a bundle names.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  type DeltaManifest,
  encodeJson,
  isSiltError,
  parseDeltaManifest,
  reasonOf,
} from "@silt/core";
import { create, Parser, type ReadEntry } from "tar";
import { type FileDigest, fileChunks } from "./file-digest.ts";
import { environmentError } from "./file-hash.ts";
import { isEnvironment } from "./sqlite-file.ts";

const MANIFEST_NAME = "delta.json";
const SQLITE_NAME = "delta.sqlite";
const MANIFEST_BYTES_MAX = 64 * 1024;
const BLOCK_BYTES = 512;
/** Two headers, two paddings, the end marker and the padding of the last record. */
const TAR_OVERHEAD_BYTES_MAX = 16 * 1024;

/** Packs `delta.sqlite` of a folder and its manifest into `<folder>/delta.tar`. */
export function packBundle(folder: string, manifest: DeltaManifest): string {
  writeFileSync(join(folder, MANIFEST_NAME), encodeJson(manifest));
  const path = join(folder, "delta.tar");
  create({ file: path, cwd: folder, sync: true, portable: true, noMtime: true }, [
    MANIFEST_NAME,
    SQLITE_NAME,
  ]);
  return path;
}

export type UnpackOutcome =
  | { readonly outcome: "sound"; readonly manifest: DeltaManifest; readonly tar: FileDigest }
  | { readonly outcome: "poison"; readonly reason: string };

/**
 * Reads a bundle with the streaming parser. The SQLite file goes to `sqlitePath` (nowhere when
 * undefined), and its length and hash are held against the manifest. Only the bundle's form and
 * hashes are judged here.
 */
export async function readBundle(
  tarPath: string,
  sqlitePath: string | undefined,
): Promise<UnpackOutcome> {
  let reader: BundleReader | undefined;
  const tarHash = createHash("sha256");
  try {
    const tarBytes = statSync(tarPath).size;
    reader = new BundleReader(tarBytes, sqlitePath);
    let first = true;
    for (const chunk of fileChunks(tarPath)) {
      tarHash.update(chunk);
      // The parser would inflate a compressed stream, bombs included.
      if (first && !Buffer.from(chunk.subarray(0, 11)).equals(Buffer.from(`${MANIFEST_NAME}\0`))) {
        return { outcome: "poison", reason: `the bundle does not begin with ${MANIFEST_NAME}` };
      }
      first = false;
      reader.write(chunk);
    }
    const manifest = reader.finish();
    checkTail(tarPath, reader.contentBytes);
    return { outcome: "sound", manifest, tar: { bytes: tarBytes, sha256: tarHash.digest("hex") } };
  } catch (error) {
    if (isEnvironment(error)) throw environmentError("unpack", tarPath, error);
    // A bundle of a later format is sound for those who know it: it waits, nobody excludes it.
    if (isSiltError(error, "invalid")) throw error;
    return { outcome: "poison", reason: reasonOf(error) };
  } finally {
    reader?.close();
  }
}

/** Throws unless only zeros follow: another reader of tars might find more files there. */
function checkTail(tarPath: string, from: number): void {
  const tail = Buffer.alloc(MANIFEST_BYTES_MAX + TAR_OVERHEAD_BYTES_MAX);
  const descriptor = openSync(tarPath, "r");
  try {
    const bytes = readSync(descriptor, tail, 0, tail.byteLength, from);
    if (tail.subarray(0, bytes).some((byte) => byte !== 0)) {
      throw new Error("what follows its files is not zero");
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Collects the two members of one bundle; throws with the reason on anything else. */
class BundleReader {
  readonly #parser: Parser;
  readonly #sqliteHash = createHash("sha256");
  readonly #manifestChunks: Buffer[] = [];
  readonly #tarBytes: number;
  #descriptor: number | undefined;
  #seen: string[] = [];
  #sqliteBytes = 0;
  #failure: Error | undefined;

  constructor(tarBytes: number, sqlitePath: string | undefined) {
    this.#tarBytes = tarBytes;
    if (sqlitePath !== undefined) this.#descriptor = openSync(sqlitePath, "wx");
    this.#parser = new Parser({ strict: true });
    this.#parser.on("entry", (entry: ReadEntry) => this.#enter(entry));
    this.#parser.on("meta", () => this.#fail("it has an extended header"));
    this.#parser.on("ignoredEntry", (entry: ReadEntry) => this.#fail(`it has a ${entry.type}`));
    this.#parser.on("error", (error: Error) => this.#fail(error.message));
  }

  /** Where the second file ends, padding included. */
  get contentBytes(): number {
    const padded = (bytes: number) => Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
    const json = this.#manifestChunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    return 2 * BLOCK_BYTES + padded(json) + padded(this.#sqliteBytes);
  }

  write(chunk: Uint8Array): void {
    // The parser keeps what it cannot use yet, and the chunk is reused.
    this.#parser.write(Buffer.from(chunk));
    if (this.#failure !== undefined) throw this.#failure;
  }

  finish(): DeltaManifest {
    this.#parser.end();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#seen.length !== 2) {
      throw new Error(
        `it holds ${this.#seen.length} files, expected ${MANIFEST_NAME} and ${SQLITE_NAME}`,
      );
    }
    const manifest = parseDeltaManifest(Buffer.concat(this.#manifestChunks), MANIFEST_NAME);
    const sha256 = this.#sqliteHash.digest("hex");
    if (manifest.sqlite.bytes !== this.#sqliteBytes || manifest.sqlite.sha256 !== sha256) {
      throw new Error(`${SQLITE_NAME} does not match the length and hash in ${MANIFEST_NAME}`);
    }
    return manifest;
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #fail(reason: string): void {
    this.#failure ??= new Error(`the bundle is no sound tar: ${reason}`);
  }

  #enter(entry: ReadEntry): void {
    const expected = this.#seen.length === 0 ? MANIFEST_NAME : SQLITE_NAME;
    const bytesMax = this.#seen.length === 0 ? MANIFEST_BYTES_MAX : this.#tarBytes;
    if (entry.type !== "File" || entry.path !== expected || this.#seen.length >= 2) {
      this.#fail(
        `it has a ${entry.type} "${entry.path.slice(0, 100)}", expected the file ${expected}`,
      );
    } else if (entry.size > bytesMax) {
      this.#fail(`${expected} has ${entry.size} bytes, at most ${bytesMax} are allowed`);
    } else if (
      this.#seen.length === 1 &&
      this.#tarBytes - entry.size > MANIFEST_BYTES_MAX + TAR_OVERHEAD_BYTES_MAX
    ) {
      this.#fail("it is much longer than its files");
    }
    this.#seen.push(entry.path);
    if (this.#failure !== undefined) {
      entry.resume();
      return;
    }
    entry.on("data", (chunk: Buffer) => this.#take(expected, chunk));
  }

  #take(name: string, chunk: Buffer): void {
    if (name === MANIFEST_NAME) {
      this.#manifestChunks.push(Buffer.from(chunk));
      return;
    }
    this.#sqliteHash.update(chunk);
    this.#sqliteBytes += chunk.byteLength;
    if (this.#descriptor === undefined) return;
    for (let at = 0; at < chunk.byteLength; ) {
      at += writeSync(this.#descriptor, chunk, at, chunk.byteLength - at);
    }
  }
}
