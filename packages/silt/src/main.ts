/** Entry of the `silt` command: gives it the process, and makes Ctrl-C a clean end. */
import { readFileSync } from "node:fs";
import { runProgram } from "./cli/program.ts";

/** The second Ctrl-C ends at once. */
function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  let asked = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      asked += 1;
      if (asked > 1) process.exit(130);
      controller.abort(new Error(`interrupted by ${signal}`));
    });
  }
  return controller.signal;
}

/** A reader that goes away, as `head` does, is no failure of ours. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? 0 : 1);
});

const manifest = new URL("../package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };

process.exitCode = await runProgram(
  process.argv.slice(2),
  {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    env: process.env,
    signal: interruptSignal(),
    nowMs: () => Date.now(),
  },
  version,
);
