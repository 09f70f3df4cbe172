import type { Command } from "commander";
import type { CompactReport } from "../compact-store.ts";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCount } from "../terminal/format-count.ts";
import { formatDuration } from "../terminal/format-duration.ts";
import type { CommandRun, ExitCode } from "./command-run.ts";
import type { Define } from "./program.ts";

export function defineCompact(program: Command, define: Define): void {
  const command = program
    .command("compact")
    .description("fold everything pending into a new version, of one collection or of all")
    .argument("[collection]");
  define(command, ["silt compact", "silt compact notes --json"], async (run, [name]) => {
    const store = await run.store();
    const bar = run.terminal.progress("compact", "steps");
    let reports: readonly CompactReport[];
    try {
      reports = await store.compact(name as string | undefined, {
        signal: run.signal,
        onProgress: (_shard, _step, done, total) => bar.update(done, total),
      });
    } finally {
      bar.end();
    }
    run.terminal.json({ shards: reports });
    printReports(run, reports);
    return exitCodeOf(reports);
  });
}

/** A table of what happened, and a line for what needs one. */
export function printReports(run: CommandRun, reports: readonly CompactReport[]): void {
  const { terminal } = run;
  if (reports.length === 0) {
    terminal.print("there is no collection yet");
    return;
  }
  terminal.table(
    [
      "collection",
      "shard",
      { title: "outcome", paint: (text) => paintOutcome(run, text) },
      { title: "version", align: "right" },
      { title: "rows in", align: "right" },
      { title: "rows out", align: "right" },
      { title: "written", align: "right" },
      { title: "time", align: "right" },
    ],
    reports.map((report) => [
      report.collection,
      report.shard,
      report.outcome,
      formatCount(report.version),
      formatCount(report.rowsIn),
      formatCount(report.rowsOut),
      formatBytes(report.bytesWritten),
      formatDuration(report.ms),
    ]),
  );
  for (const { collection, shard, holder, error, excluded, outcome } of reports) {
    if (outcome === "busy") terminal.note(`${collection} ${shard}: ${holder} compacts it already`);
    if (error !== undefined) terminal.error(`${collection} ${shard}: ${error.message}`);
    for (const { runId, sequence, reason } of excluded) {
      terminal.error(
        `${terminal.paint.red("excluded")} ${collection} ${shard} run ${sequence} (${runId}): ${reason}`,
      );
    }
  }
}

function paintOutcome({ terminal: { paint } }: CommandRun, outcome: string): string {
  if (outcome === "flipped") return paint.green(outcome);
  if (outcome === "failed") return paint.red(outcome);
  return outcome === "nothing-to-do" ? paint.dim(outcome) : paint.yellow(outcome);
}

/** The worst of all: damage, failure, busy. */
export function exitCodeOf(reports: readonly CompactReport[]): ExitCode {
  const kinds = new Set(reports.map(({ error }) => error?.kind));
  if (kinds.has("corrupt") || reports.some(({ excluded }) => excluded.length > 0)) return 3;
  if (kinds.has("internal") || kinds.has("invalid")) return 1;
  const waits = ["busy", "lost", "failed"];
  return reports.some(({ outcome }) => waits.includes(outcome)) ? 4 : 0;
}
