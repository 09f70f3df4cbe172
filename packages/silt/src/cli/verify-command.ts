import type { VerifyReport } from "@silt/core";
import type { VersionSelection } from "@silt/reader";
import type { Command } from "commander";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCount } from "../terminal/format-count.ts";
import { formatDuration } from "../terminal/format-duration.ts";
import type { CommandRun } from "./command-run.ts";
import { parseVersion, VERSION_HELP } from "./option-values.ts";
import type { Define } from "./program.ts";

export function defineVerify(program: Command, define: Define): void {
  const command = program
    .command("verify")
    .description("check everything that can be checked, and name what is wrong")
    .argument("[collection]")
    .option("--deep", "also read every row with a second build of SQLite, and compare")
    .option(
      "--version <n>",
      `to its last row too, of that collection: ${VERSION_HELP}`,
      parseVersion,
    );
  define<{ deep?: boolean; version?: VersionSelection }>(
    command,
    ["silt verify", "silt verify lines --deep", "silt verify --json"],
    async (run, [name], { deep, version }) => {
      const store = await run.store();
      const start = run.host.nowMs();
      const bar = run.terminal.progress("verify", "objects");
      let report: VerifyReport;
      try {
        report = await store.verify({
          ...(name !== undefined && { collections: [name as string] }),
          deep,
          version,
          signal: run.signal,
          onProgress: (done, total) => bar.update(done, total),
        });
      } finally {
        bar.end();
      }
      run.terminal.json(report);
      printReport(run, report, run.host.nowMs() - start);
      return report.ok ? undefined : 3;
    },
  );
}

/** The verdict first, then every problem with its object and remedy. */
export function printReport({ terminal }: CommandRun, report: VerifyReport, ms: number): void {
  const { paint } = terminal;
  const { checked, problems, notices } = report;
  const verdict = report.ok
    ? paint.green("sound")
    : paint.red(`${formatCount(problems.length)} problem${problems.length === 1 ? "" : "s"}`);
  terminal.print(`${paint.bold("verify")} ${verdict}`);
  const right = { align: "right" as const };
  terminal.table(
    ["checked", { title: "count", ...right }],
    [
      ["objects", formatCount(checked.objects)],
      ["bytes", formatBytes(checked.bytes)],
      ["segments", formatCount(checked.segments)],
      ["rows", formatCount(checked.rows)],
      ["runs", formatCount(checked.runs)],
      ["time", formatDuration(ms)],
    ],
  );
  for (const { object, kind, message, remedy } of problems) {
    terminal.print();
    terminal.print(`${paint.red(kind)} ${paint.bold(object)}`);
    terminal.print(`  ${message}`);
    terminal.print(`  ${paint.cyan("do")} ${remedy}`);
  }
  if (notices.length > 0) terminal.print();
  for (const { object, kind, message } of notices) {
    terminal.print(`${paint.dim("notice")} ${kind} ${object}: ${message}`);
  }
}
