import { createReadStream } from "node:fs";
import { SiltError } from "@silt/core";
import type { CommandRun } from "./command-run.ts";

/** The bytes of a file, or of standard input for `-` and nothing. Throws `invalid` when it can't be read. */
export async function* inputBytes(
  run: CommandRun,
  file: string | undefined,
): AsyncGenerator<Uint8Array, void> {
  if (file === undefined || file === "-") {
    yield* run.host.stdin;
    return;
  }
  try {
    yield* createReadStream(file, { highWaterMark: 256 * 1024 });
  } catch (cause) {
    if (cause instanceof SiltError) throw cause;
    throw new SiltError("invalid", `Cannot read "${file}": ${(cause as Error).message}`, { cause });
  }
}

/** All of a small input as text. */
export async function inputText(run: CommandRun, file: string, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of inputBytes(run, file)) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) {
      throw new SiltError("invalid", `Cannot read "${file}": it is over ${bytesMax} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
