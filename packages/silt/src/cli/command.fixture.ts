/** Runs the command in this process, as a shell would: arguments and input in, output and exit code out. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testPlace } from "../test-place.fixture.ts";
import { runProgram } from "./program.ts";

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The one JSON document on standard output. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into documents of every command
  readonly json: any;
}

export interface CommandSandbox extends Disposable {
  readonly folder: string;
  readonly store: string;
  silt(args: readonly string[], input?: string | Uint8Array): Promise<CommandResult>;
  /** As {@link silt}, with a person at a terminal who types `input`. */
  atTerminal(args: readonly string[], input: string): Promise<CommandResult>;
}

/** A folder with a store location and a cache of its own; the store a copy of one, if that is given. */
export function commandSandbox(from?: CommandSandbox): CommandSandbox {
  const folder = mkdtempSync(join(tmpdir(), "silt-command-"));
  const place = testPlace(folder);
  const store = place.location;
  if (from !== undefined) cpSync(from.store, store, { recursive: true });
  const env = { SILT_STORE: store, SILT_CACHE: join(folder, "cache") };
  const silt = async (
    args: readonly string[],
    input: string | Uint8Array,
    isTTY: boolean,
  ): Promise<CommandResult> => {
    let [stdout, stderr] = ["", ""];
    await place.prepare();
    const exitCode = await runProgram(
      args,
      {
        stdout: { write: (text) => (stdout += text), isTTY },
        stderr: { write: (text) => (stderr += text), isTTY },
        stdin: Object.assign(bytesOf(input), { isTTY }),
        env: { ...env, NO_COLOR: "1" },
        signal: new AbortController().signal,
        nowMs: () => Date.now(),
      },
      "0.0.0-test",
    );
    return { exitCode, stdout, stderr, json: parse(stdout) };
  };
  return {
    folder,
    store,
    silt: (args, input = "") => silt(args, input, false),
    atTerminal: (args, input) => silt(args, input, true),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function* bytesOf(text: string | Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield typeof text === "string" ? Buffer.from(text) : text;
}

function parse(stdout: string): unknown {
  try {
    return JSON.parse(stdout);
  } catch {
    return undefined;
  }
}
