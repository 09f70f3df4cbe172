import { once } from "node:events";
import type { VersionSelection } from "@silt/reader";
import type { Command } from "commander";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCount } from "../terminal/format-count.ts";
import { plainText } from "../terminal/plain-text.ts";
import { type CommandRun, refuseUsage } from "./command-run.ts";
import { givenOf, parseVersion, VERSION_HELP } from "./option-values.ts";
import type { Define } from "./program.ts";

export function defineExport(program: Command, define: Define): void {
  const command = program
    .command("export")
    .description("one version as one stock SQLite file, or as JSON Lines that put takes")
    .argument("<collection>")
    .option("--sqlite <file>", "a new SQLite file")
    .option("--jsonl <file>", "a new file of JSON Lines; - for standard output")
    .option("--version <n>", VERSION_HELP, parseVersion);
  define<{ sqlite?: string; jsonl?: string; version?: VersionSelection }>(
    command,
    ["silt export notes --sqlite notes.sqlite", "silt export notes --jsonl - | gzip > notes.gz"],
    async (run, [name], { sqlite, jsonl, version }) => {
      const given = givenOf({ sqlite, jsonl });
      if (given.length !== 1) {
        refuseUsage(
          `Cannot export: ${given.length} of --sqlite and --jsonl are given, expected one`,
        );
      }
      if (jsonl === "-" && run.json) {
        refuseUsage("Cannot export: --json and --jsonl - both want standard output, expected one");
      }
      const store = await run.store();
      const target =
        sqlite !== undefined
          ? { sqlite }
          : jsonl === "-"
            ? { lines: stdoutSink(run) }
            : { jsonl: jsonl as string };
      const report = await store.export(name as string, target, { version });
      run.terminal.json(report);
      const { records, bytes, file } = report;
      const from = report.version === undefined ? "" : ` of version ${report.version}`;
      const said = `exported ${formatCount(records)} records${from} (${formatBytes(bytes)})`;
      if (file === null) run.terminal.note(said);
      else run.terminal.print(`${said} to ${plainText(file)}`);
      return undefined;
    },
  );
}

/** Waits when the reader of the pipe is slower than we are. */
function stdoutSink(run: CommandRun): (line: string) => Promise<void> {
  const stdout = run.host.stdout as NodeJS.WriteStream;
  return async (line) => {
    if (stdout.write(line) === false) await once(stdout, "drain", { signal: run.signal });
  };
}
