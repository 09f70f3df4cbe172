import { closeSync, linkSync, openSync, statfsSync, unlinkSync } from "node:fs";
import { reasonOf, SiltError } from "@silt/core";
import { codeOf, folderError } from "./folder-error.ts";
import { tempPath } from "./temp-file.ts";

/**
 * File systems that other machines change too: their locks, `link()` or memory maps cannot be
 * relied on. Numbers of statfs(2), from Linux's include/uapi/linux/magic.h and, where that has none,
 * the file system's own source. FUSE and 9p are not listed, for both are also how containers and
 * virtual machines show a local disk; there the probe and SQLite's own locking must do.
 */
const NETWORK_FILESYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x5346414f, "AFS"],
  [0x6b414653, "kAFS"],
  [0x73757245, "Coda"],
  [0x564c, "NCP"],
  [0x00c36400, "Ceph"],
  [0x0bd00bd0, "Lustre"],
  [0x47504653, "GPFS"],
  [0x7461636f, "OCFS2"],
  [0x01161970, "GFS2"],
]);

/** The name of a network file system by its statfs(2) number; undefined for a local one. */
export function networkFilesystemOf(type: number): string | undefined {
  // The field is signed on some machines, e.g. CIFS is -11317950.
  return NETWORK_FILESYSTEMS.get(type >>> 0);
}

/** Throws `invalid` when the existing folder lies on a network file system. */
export function refuseNetworkFilesystem(
  folder: string,
  typeOf: (path: string) => number = (path) => statfsSync(path).type,
): void {
  // Elsewhere the numbers mean something else.
  if (process.platform !== "linux") return;
  let type: number;
  try {
    type = typeOf(folder);
  } catch (error) {
    throw folderError("open store", folder, error);
  }
  const network = networkFilesystemOf(type);
  if (network === undefined) return;
  throw new SiltError(
    "invalid",
    `Cannot open store "${folder}": it lies on a network file system (${network}), expected a local disk; ` +
      "for several machines use s3://bucket/prefix?table=NAME",
  );
}

/** Throws `invalid` unless `link()` works in the store's folder and refuses a name that exists. */
export function probeLinks(root: string): void {
  const [first, second] = [tempPath(root), tempPath(root)];
  const make = (path: string) => closeSync(openSync(path, "wx"));
  try {
    make(first);
    linkSync(first, second);
  } catch (cause) {
    removeQuietly(first, second);
    const code = codeOf(cause);
    if (code !== "EPERM" && code !== "ENOSYS" && code !== "EOPNOTSUPP") {
      throw folderError("open store", root, cause);
    }
    throw new SiltError(
      "invalid",
      `Cannot open store "${root}": its file system has no hard links (${reasonOf(cause)}), expected a local disk that has`,
      { cause },
    );
  }
  try {
    linkSync(first, second);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return;
    throw folderError("open store", root, error);
  } finally {
    removeQuietly(first, second);
  }
  throw new SiltError(
    "invalid",
    `Cannot open store "${root}": link() replaces existing files there, expected a local disk where it refuses`,
  );
}

function removeQuietly(...paths: readonly string[]): void {
  for (const path of paths) {
    try {
      unlinkSync(path);
    } catch {
      // What is left is swept at a later open.
    }
  }
}
