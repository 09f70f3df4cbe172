import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import type { TestContext } from "vitest";

/**
 * A file system of `mebibytes` at `path`, unmounted when disposed; where that is not allowed the test
 * says so aloud.
 */
export function mountSmallDisk(path: string, mebibytes: number, context: TestContext): Disposable {
  mkdirSync(path);
  try {
    const options = ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "silt-test", path];
    execFileSync("mount", options, { stdio: "pipe" });
  } catch (error) {
    process.stderr.write(`NOT TESTED: a full disk (F30), no tmpfs could be mounted: ${error}\n`);
    context.skip("no tmpfs could be mounted");
  }
  return { [Symbol.dispose]: () => void execFileSync("umount", [path]) };
}
