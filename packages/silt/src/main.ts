/** Entry of the `silt` command: gives it the process, and makes Ctrl-C a clean end. */
import { runProgram } from "./cli/program.ts";
import { siltVersion } from "./silt-version.ts";

/** After an interrupt what is in hand is flushed; whoever takes longer, or is asked twice, ends at once. */
const GRACE_MS = 15_000;
const INTERRUPTED = 130;

function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(INTERRUPTED);
      controller.abort(new Error(`interrupted by ${signal}`));
      setTimeout(() => process.exit(INTERRUPTED), GRACE_MS).unref();
    });
  }
  return controller.signal;
}

/** A reader that goes away, as `head` does, is no failure of ours. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? 0 : 1);
});

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
  siltVersion(),
);
