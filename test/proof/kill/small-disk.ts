/** A file system in memory that can be made full, and given space again. Mounting takes root. */
import { execFileSync } from "node:child_process";
import { mkdirSync, statfsSync } from "node:fs";

export interface SmallDisk extends Disposable {
  /** Leaves so many bytes beside what is used now. */
  leave(bytes: number): void;
}

const RESIZE_ATTEMPTS_MAX = 50;
const ROOMY_BYTES = 256 * 1024 * 1024;

/** Undefined where nothing may be mounted. */
export function mountSmallDisk(path: string): SmallDisk | undefined {
  mkdirSync(path, { recursive: true });
  try {
    const options = ["-t", "tmpfs", "-o", `size=${ROOMY_BYTES},mode=755`, "silt-test", path];
    execFileSync("mount", options, { stdio: "pipe" });
  } catch {
    return undefined;
  }
  return {
    leave: (bytes) => resize(path, bytes),
    [Symbol.dispose]: () => void execFileSync("umount", [path]),
  };
}

/** Whoever writes meanwhile makes the size too small, which is refused: then once more. */
function resize(path: string, bytes: number): void {
  for (let attempt = 1; ; attempt++) {
    const { blocks, bfree, bsize } = statfsSync(path);
    const size = (blocks - bfree) * bsize + bytes;
    try {
      execFileSync("mount", ["-o", `remount,size=${size}`, path], { stdio: "pipe" });
      return;
    } catch (error) {
      if (attempt === RESIZE_ATTEMPTS_MAX) throw error;
    }
  }
}

/** Room again. */
export const ROOM = ROOMY_BYTES;
