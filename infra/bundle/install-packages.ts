import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Lockfile, lockedPart } from "./external-packages.ts";

export type Architecture = "arm64" | "x86_64";

const NPM_CPU = { arm64: "arm64", x86_64: "x64" } as const;
const OUTPUT_CHARS_MAX = 4_000;

/** What has to be installed, as text: the same text gives the same files. */
export function installation(names: readonly string[], top: string) {
  const lock = JSON.parse(readFileSync(join(top, "package-lock.json"), "utf8")) as Lockfile;
  const part = lockedPart(lock, names);
  return { manifest: JSON.stringify(part.manifest), lock: JSON.stringify(part.lock) };
}

/**
 * Installs locked packages into `folder` for Linux with glibc on `architecture`, whatever this
 * machine is. No script of a package runs: all of them bring their machine code along.
 */
export async function installPackages(
  folder: string,
  wanted: { readonly manifest: string; readonly lock: string },
  architecture: Architecture,
): Promise<void> {
  writeFileSync(join(folder, "package.json"), wanted.manifest);
  writeFileSync(join(folder, "package-lock.json"), wanted.lock);
  const target = ["--os=linux", `--cpu=${NPM_CPU[architecture]}`, "--libc=glibc"];
  const quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
  const args = ["ci", ...target, "--omit=dev", "--ignore-scripts", "--prefer-offline", ...quiet];
  const npm = spawn("npm", args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [npm.stdout, npm.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      said = (said + chunk).slice(-OUTPUT_CHARS_MAX);
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    npm.on("error", reject);
    npm.on("close", resolve);
  });
  if (code !== 0) {
    throw new Error(`Cannot install packages for ${architecture}: npm ended with ${code}: ${said}`);
  }
}
