/** One run of a command: where it writes, which store it works on, and how failures end. */
import { isSiltError, type Logger, reasonOf, SiltError, type SiltErrorKind } from "@silt/core";
import { defaultCacheFolder } from "../cache-folder.ts";
import { DEFAULT_LOCATION } from "../location.ts";
import { openStore } from "../open-store.ts";
import type { Store } from "../store.ts";
import { createTerminal, type OutputStream, type Terminal } from "../terminal/terminal.ts";

/** What of a `tty.ReadStream` is used. */
export interface InputStream extends AsyncIterable<Uint8Array> {
  readonly isTTY?: boolean | undefined;
  destroy?(): unknown;
}

/** What the command gets from the process; a test may give its own. */
export interface CommandHost {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly stdin: InputStream;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
}

/** Options that every command has. */
export interface CommonOptions {
  readonly store?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

/** 0 done; 1 failed; 2 wrong usage or bad input; 3 damage was found; 4 busy or unavailable, try again. */
export type ExitCode = 0 | 1 | 2 | 3 | 4 | 130;

const EXIT_CODES: Readonly<Record<SiltErrorKind, ExitCode>> = {
  invalid: 2,
  corrupt: 3,
  unavailable: 4,
  conflict: 4,
  fenced: 4,
  internal: 1,
};

/** What a command works with. */
export class CommandRun implements AsyncDisposable {
  readonly terminal: Terminal;
  readonly host: CommandHost;
  readonly location: string;
  readonly json: boolean;
  readonly #logger: Logger;
  #store: Store | undefined;

  constructor(host: CommandHost, options: CommonOptions) {
    this.host = host;
    this.json = options.json === true;
    this.location = options.store ?? (host.env.SILT_STORE || DEFAULT_LOCATION);
    const { stdout, stderr, env, nowMs } = host;
    const quiet = options.quiet === true;
    this.terminal = createTerminal({ stdout, stderr, env, quiet, json: this.json, nowMs });
    this.#logger = createLineLogger(this.terminal, options.verbose === true);
  }

  get signal(): AbortSignal {
    return this.host.signal;
  }

  /** Opens the store of this run, once. */
  async store(options: { readonly create: boolean } = { create: false }): Promise<Store> {
    this.#store ??= await this.storeAt(this.location, options);
    return this.#store;
  }

  /** Opens a store that the caller disposes. */
  storeAt(location: string, options: { readonly create: boolean }): Promise<Store> {
    return openStore(location, {
      ...options,
      cacheFolder: defaultCacheFolder(this.host.env),
      logger: this.#logger,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store?.[Symbol.asyncDispose]();
  }
}

/** Warnings always, the rest, e.g. every SQLite file opened and checked, only when asked for. */
function createLineLogger(terminal: Terminal, verbose: boolean): Logger {
  return {
    log(level, message, fields) {
      if (!verbose && (level === "debug" || level === "info")) return;
      terminal.note(
        `${level}: ${message}${fields === undefined ? "" : ` ${JSON.stringify(fields)}`}`,
      );
    },
  };
}

/** Tells the failure as people and programs expect it, and gives the exit code. */
export function reportFailure(
  error: unknown,
  host: CommandHost,
  options: CommonOptions,
  command: string,
): ExitCode {
  const { stdout, stderr, env, nowMs, signal } = host;
  const json = options.json === true;
  const terminal = createTerminal({ stdout, stderr, env, quiet: false, json, nowMs });
  if (signal.aborted) {
    terminal.json({ error: { kind: "interrupted", message: "interrupted" } });
    terminal.error("interrupted; what was acknowledged stays");
    return 130;
  }
  const kind = isSiltError(error) ? error.kind : "internal";
  const message = oneLine(reasonOf(error));
  const details = isSiltError(error) ? error.details : undefined;
  terminal.json({ error: { kind, message, ...details } });
  terminal.error(`${terminal.paint.red("error")} ${message}`);
  const runs = details?.runs;
  if (Array.isArray(runs)) {
    for (const run of runs) terminal.error(`  durable: run ${run.sequence} ${run.runId}`);
  }
  if (options.verbose === true) for (const line of causesOf(error)) terminal.error(line);
  else if (kind === "internal")
    terminal.error(`This is a bug; "silt ${command} --verbose" tells more.`);
  return EXIT_CODES[kind];
}

const oneLine = (text: string) => text.replaceAll(/\s*\n\s*/g, "; ");

const CAUSES_MAX = 10;

function causesOf(error: unknown): readonly string[] {
  const lines: string[] = [];
  for (let at: unknown = error; at instanceof Error && lines.length < CAUSES_MAX; at = at.cause) {
    lines.push(`${lines.length === 0 ? "" : "caused by "}${at.stack ?? at.message}`);
  }
  return lines;
}

/** Throws `invalid` for what a user typed. */
export function refuseUsage(message: string): never {
  throw new SiltError("invalid", message);
}
