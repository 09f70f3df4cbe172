/** Asking a person before something that cannot be taken back. */
import type { CommandRun } from "./command-run.ts";

/** True when there is somebody to ask. */
export function isInteractive({ host, json }: CommandRun): boolean {
  return !json && host.stdin.isTTY === true && host.stdout.isTTY === true;
}

/** Asks; true for `y` and `yes`. An interrupt while we wait is one as ever. */
export async function confirm({ host, signal }: CommandRun, question: string): Promise<boolean> {
  signal.throwIfAborted();
  host.stderr.write(`${question} [y/N] `);
  const interrupted = Promise.withResolvers<never>();
  const onAbort = () => interrupted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const answer = await Promise.race([readLine(host.stdin), interrupted.promise]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    signal.removeEventListener("abort", onAbort);
    // A read that still waits would keep the process.
    host.stdin.destroy?.();
  }
}

async function readLine(input: AsyncIterable<Uint8Array>): Promise<string> {
  let line = "";
  for await (const chunk of input) {
    line += Buffer.from(chunk).toString("utf8");
    if (line.includes("\n")) break;
  }
  return line.split("\n")[0] ?? "";
}
