/** The `silt` command: its commands, the options that all share, and how a run ends. */
import { Command, CommanderError } from "commander";
import { type CommandHost, CommandRun, type ExitCode, reportFailure } from "./command-run.ts";
import { defineCompact } from "./compact-command.ts";
import { defineDelete } from "./delete-command.ts";
import { defineDemo } from "./demo-command.ts";
import { defineDoctor } from "./doctor-command.ts";
import { defineExport } from "./export-command.ts";
import { defineGc } from "./gc-command.ts";
import { defineGet } from "./get-command.ts";
import { defineIngest } from "./ingest-command.ts";
import { defineInit } from "./init-command.ts";
import { defineInspect } from "./inspect-command.ts";
import { definePin, defineUnpin } from "./pin-command.ts";
import { definePolicy } from "./policy-command.ts";
import { definePatch, definePut } from "./put-command.ts";
import { defineQuarantine } from "./quarantine-command.ts";
import { defineQuery } from "./query-command.ts";
import { defineRebuild } from "./rebuild-command.ts";
import { defineRollback } from "./rollback-command.ts";
import { defineStatus } from "./status-command.ts";
import { defineSweep } from "./sweep-command.ts";
import { defineVerify } from "./verify-command.ts";
import { defineVersions } from "./versions-command.ts";
import { defineWatch } from "./watch-command.ts";

/** What a command does; its exit code, or nothing for 0. */
export type CommandAction<Options> = (
  run: CommandRun,
  args: readonly (string | readonly string[] | undefined)[],
  options: Options,
) => Promise<ExitCode | undefined>;

/** Gives a command its common options, examples and action. */
export type Define = <Options>(
  command: Command,
  examples: readonly string[],
  action: CommandAction<Options>,
) => Command;

const FOOTER = `
A store is a folder: ./silt-store, or what --store or SILT_STORE names.
Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 3 damage found, 4 busy or unavailable (try again).
"silt COMMAND --help" shows examples. Begin with: silt demo`;

/** Runs the command line `args` (without node and script); gives the exit code. */
export async function runProgram(
  args: readonly string[],
  host: CommandHost,
  version: string,
): Promise<ExitCode> {
  let exitCode: ExitCode = 0;
  const define: Define = (command, examples, action) =>
    withCommonOptions(command, examples).action(async (...parameters: unknown[]) => {
      const own = parameters.at(-1) as Command;
      const options = own.opts();
      try {
        await using run = new CommandRun(host, options);
        const given = parameters.slice(0, -2) as (string | readonly string[] | undefined)[];
        exitCode = (await action(run, given, options as never)) ?? 0;
      } catch (error) {
        exitCode = reportFailure(error, host, options, own.name());
      }
    });
  const program = createProgram(host, version, define);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    exitCode = endUsage(error, args, host);
  }
  return exitCode;
}

function createProgram(host: CommandHost, version: string, define: Define): Command {
  const program = new Command("silt")
    .description(
      "Vectors that settle: many small writes become one verified, versioned vector store.",
    )
    .version(version, "-V, --version")
    .addHelpText("after", FOOTER)
    .helpCommand(true)
    // So that `--version` after a command is the command's.
    .enablePositionalOptions()
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: (text) => host.stderr.write(text),
    });
  const commands = [
    defineDemo,
    defineInit,
    defineIngest,
    defineWatch,
    definePut,
    definePatch,
    defineDelete,
    defineCompact,
    defineQuery,
    defineGet,
    defineStatus,
    defineVerify,
    defineInspect,
    defineQuarantine,
    defineExport,
    defineVersions,
    defineRollback,
    definePin,
    defineUnpin,
    defineGc,
    definePolicy,
    defineSweep,
    defineRebuild,
    defineDoctor,
  ];
  for (const add of commands) add(program, define);
  return program;
}

function withCommonOptions(command: Command, examples: readonly string[]): Command {
  return command
    .option(
      "--store <location>",
      "a folder, or s3://bucket/prefix?table=NAME (default: SILT_STORE, or ./silt-store)",
    )
    .option("--json", "one JSON document on standard output, nothing else there")
    .option("--quiet", "no notes and no progress")
    .option("--verbose", "debug log, and the causes of a failure")
    .addHelpText("after", `\nExamples:\n${examples.map((line) => `  $ ${line}`).join("\n")}`)
    .showHelpAfterError(`(try "silt ${fullName(command)} --help")`);
}

function fullName(command: Command): string {
  const parent = command.parent;
  return parent === null || parent.parent === null
    ? command.name()
    : `${fullName(parent)} ${command.name()}`;
}

/** Help and version end with 0; everything else that commander refuses is wrong usage. */
function endUsage(error: CommanderError, args: readonly string[], host: CommandHost): ExitCode {
  const asked = ["commander.helpDisplayed", "commander.version", "commander.help"];
  if (asked.includes(error.code) && (error.exitCode === 0 || args.includes("help"))) return 0;
  if (args.includes("--json")) {
    const message = error.message.replace(/^error: /, "");
    host.stdout.write(`${JSON.stringify({ error: { kind: "invalid", message } })}\n`);
  }
  return 2;
}
