/** The command, as a process of its own that ends by itself. */
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { World } from "./world.ts";

const COMMAND = fileURLToPath(new URL("../../../packages/silt/bin/silt.js", import.meta.url));

export interface SiltRun {
  readonly args: readonly string[];
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `silt` on the store of a world; `wrapper` is what runs it, e.g. as somebody else. */
export function runSilt(
  world: World,
  args: readonly string[],
  options: {
    readonly input?: string;
    readonly wrapper?: readonly string[];
    readonly cacheFolder?: string;
  } = {},
): Promise<SiltRun> {
  const { input = "", wrapper = [], cacheFolder = world.cacheFolder } = options;
  const [command = "", ...rest] = [...wrapper, process.execPath, COMMAND, ...args];
  const child = spawn(command, rest, {
    env: {
      ...process.env,
      SILT_STORE: world.location,
      SILT_CACHE: cacheFolder,
      TMPDIR: world.temporary,
      // Not below TMPDIR, where what is left shows; shared, for half of a start is compiling.
      NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache"),
      NO_COLOR: "1",
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  // A command that refuses at once does not read what it is given.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ args, code: code ?? -1, stdout, stderr }));
  });
}
