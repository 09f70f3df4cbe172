/** A folder as it was: brought back after each damage by rewriting only what differs. */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

interface KeptFile {
  readonly bytes: Uint8Array;
  mark: string;
}

export interface RestorePoint {
  /** The undamaged bytes of a file, by its path in the folder. */
  bytesOf(path: string): Uint8Array;
  paths(): readonly string[];
  restore(): void | Promise<void>;
}

/** Takes note of everything in `folder`. */
export function createRestorePoint(folder: string): RestorePoint {
  const files = new Map<string, KeptFile>();
  const folders = new Set<string>();
  for (const { path, isFolder } of walk(folder)) {
    if (isFolder) folders.add(path);
    else {
      const at = join(folder, path);
      files.set(path, { bytes: readFileSync(at), mark: markOf(at) });
    }
  }
  return {
    bytesOf(path) {
      const kept = files.get(path);
      if (kept === undefined) throw new Error(`nothing is kept of ${path}`);
      return kept.bytes;
    },
    paths: () => [...files.keys()].sort(),
    restore() {
      const seen = new Set<string>();
      for (const { path, isFolder } of walk(folder)) {
        const known = isFolder ? folders.has(path) : isUnchanged(folder, path, files.get(path));
        if (known) seen.add(path);
        else rmSync(join(folder, path), { recursive: true, force: true });
      }
      for (const [path, kept] of files) {
        if (seen.has(path)) continue;
        const at = join(folder, path);
        mkdirSync(dirname(at), { recursive: true });
        writeFileSync(at, kept.bytes);
        kept.mark = markOf(at);
      }
    },
  };
}

function isUnchanged(folder: string, path: string, kept: KeptFile | undefined): boolean {
  return kept !== undefined && markOf(join(folder, path)) === kept.mark;
}

/** Changes whenever the file is written, replaced or locked away. */
function markOf(path: string): string {
  const { ino, size, mtimeNs, mode } = lstatSync(path, { bigint: true });
  return `${ino} ${size} ${mtimeNs} ${mode}`;
}

/** Folders come before what they hold, unless they are not there any more. */
function* walk(folder: string, at = ""): Generator<{ path: string; isFolder: boolean }> {
  for (const entry of readdirSync(join(folder, at), { withFileTypes: true })) {
    const path = at === "" ? entry.name : `${at}/${entry.name}`;
    const isFolder = entry.isDirectory();
    if (isFolder) chmodSync(join(folder, path), 0o755);
    yield { path, isFolder };
    if (isFolder && lstatSync(join(folder, path), { throwIfNoEntry: false })) {
      yield* walk(folder, path);
    }
  }
}
