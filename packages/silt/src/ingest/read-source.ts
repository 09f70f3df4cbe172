/** A picture and its sidecar as they lie on the disk now, with the digest that tells whether they changed. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { opendir, readFile, stat } from "node:fs/promises";
import { reasonOf, SiltError, sha256Of } from "@silt/core";
import { IMAGE_BYTES_MAX } from "@silt/embed";
import { GONE_STAMP, type SourceRead } from "./image-source.ts";

export const SIDECAR_ENDING = ".json";
const SIDECAR_BYTES_MAX = 1024 * 1024;
const ABSENT_CODES = ["ENOENT", "ENOTDIR"];
/** What is wrong with this one file; anything else is the disk's or the system's trouble. */
const DENIED_CODES = ["EACCES", "EPERM", "ELOOP", "ENAMETOOLONG"];

/** Reads a picture with its sidecar. Throws `unavailable` when the disk fails. */
export async function readSource(path: string): Promise<SourceRead> {
  try {
    const image = await readBounded(path, IMAGE_BYTES_MAX);
    if (image === undefined) return { outcome: "gone" };
    const name = `${path}${SIDECAR_ENDING}`;
    const sidecar = await readBounded(name, SIDECAR_BYTES_MAX);
    const digest = digestOf(image.sha256, sidecar?.sha256);
    const stamp = digest;
    const unfit = (what: string, size: number, bytesMax: number): SourceRead => ({
      outcome: "unfit",
      digest,
      stamp,
      reason: tooLargeReason(what, size, bytesMax),
    });
    if (image.bytes === undefined) return unfit("picture", image.size, IMAGE_BYTES_MAX);
    if (sidecar === undefined) {
      return { outcome: "read", digest, stamp, bytes: image.bytes, sidecar: undefined };
    }
    if (sidecar.bytes === undefined) return unfit("sidecar", sidecar.size, SIDECAR_BYTES_MAX);
    const read = { name, bytes: sidecar.bytes };
    return { outcome: "read", digest, stamp, bytes: image.bytes, sidecar: read };
  } catch (error) {
    const reason = `Cannot read "${path}": ${reasonOf(error)}`;
    if (isDenied(error)) return { outcome: "denied", reason };
    throw new SiltError("unavailable", `${reason}; try again`, { cause: error });
  }
}

/**
 * The digest that {@link readSource} would give, with no file held; times of change are too coarse to
 * tell two contents apart. Undefined for what may not be read. Throws `unavailable` when the disk fails.
 */
export async function stampOf(path: string): Promise<string | undefined> {
  try {
    const image = await readBounded(path, 0);
    if (image === undefined) return GONE_STAMP;
    const sidecar = await readBounded(`${path}${SIDECAR_ENDING}`, 0);
    return digestOf(image.sha256, sidecar?.sha256);
  } catch (error) {
    if (isDenied(error)) return undefined;
    throw new SiltError("unavailable", `Cannot read "${path}": ${reasonOf(error)}; try again`, {
      cause: error,
    });
  }
}

/** True for the error of a file that is not there. */
export function isAbsent(error: unknown): boolean {
  return hasCode(error, ABSENT_CODES);
}

/** True for the error of a file that may not be read, while others may. */
export function isDenied(error: unknown): boolean {
  return hasCode(error, DENIED_CODES);
}

/** True unless there is a file: a folder of that name is no picture. Throws `unavailable` when the disk fails. */
export async function isGone(path: string): Promise<boolean> {
  try {
    return !(await stat(path)).isFile();
  } catch (error) {
    if (isAbsent(error)) return true;
    if (isDenied(error)) return false;
    throw new SiltError("unavailable", `Cannot look at "${path}": ${reasonOf(error)}; try again`, {
      cause: error,
    });
  }
}

/** True for a folder with something in it: where a disk was mounted, an empty one stays. */
export async function hasEntries(folder: string): Promise<boolean> {
  try {
    await using opened = await opendir(folder);
    return (await opened.read()) !== null;
  } catch (error) {
    if (isAbsent(error) || isDenied(error)) return false;
    throw new SiltError(
      "unavailable",
      `Cannot look into "${folder}": ${reasonOf(error)}; try again`,
      { cause: error },
    );
  }
}

interface BoundedFile {
  readonly size: number;
  readonly sha256: string;
  /** Undefined when it has more bytes than allowed. */
  readonly bytes: Uint8Array | undefined;
}

/** Undefined when there is no file. What is too large is hashed, never held. */
async function readBounded(path: string, bytesMax: number): Promise<BoundedFile | undefined> {
  try {
    const info = await stat(path);
    if (!info.isFile()) return undefined;
    if (info.size > bytesMax) {
      return { size: info.size, sha256: await hashFile(path), bytes: undefined };
    }
    const bytes = await readFile(path);
    return { size: bytes.byteLength, sha256: sha256Of(bytes), bytes };
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

/** Of a picture and what is told about it, by their SHA-256. */
export function digestOf(image: string, sidecar: string | undefined): string {
  return sidecar === undefined ? image : sha256Of(`${image}\n${sidecar}`);
}

/** Why something so large is not even looked at. */
export function tooLargeReason(what: string, size: number, bytesMax: number): string {
  return `Cannot ingest it: the ${what} has ${size} bytes, expected at most ${bytesMax}`;
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code !== undefined && codes.includes(code);
}
