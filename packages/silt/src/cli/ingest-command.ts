import type { PipelineKind } from "@silt/embed";
import { type Command, Option } from "commander";
import type { IngestOptions, IngestReport } from "../ingest/ingest-paths.ts";
import { formatCount } from "../terminal/format-count.ts";
import { formatDuration } from "../terminal/format-duration.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CommandRun, ExitCode } from "./command-run.ts";
import { parseCount } from "./option-values.ts";
import type { Define } from "./program.ts";

interface IngestFlags {
  readonly workers?: number;
  readonly pipeline?: PipelineKind;
  readonly dryRun?: boolean;
  readonly retryFailed?: boolean;
  readonly prune?: boolean;
  readonly yes?: boolean;
}

const LISTED_MAX = 20;

/** Which records pictures become. */
export function pipelineOption(): Option {
  return new Option("--pipeline <kind>", "auto: lines and words where there is text, images always")
    .choices(["auto", "text", "image"])
    .default("auto");
}

export function defineIngest(program: Command, define: Define): void {
  const command = program
    .command("ingest")
    .description(
      "pictures become records: text lines and words by OCR, and one image embedding each",
    )
    .argument("<path...>", "pictures or folders of them, files or s3://bucket/prefix")
    .option("--workers <n>", "threads that read pictures (default: 1)", parseCount)
    .addOption(pipelineOption())
    .option("--dry-run", "say what would be done")
    .option("--retry-failed", "try pictures again that failed before")
    .option("--prune", "delete the records of pictures that are gone from these folders")
    .option("--yes", "prune even when more than half of the known pictures are gone");
  define<IngestFlags>(
    command,
    [
      "silt ingest photos/ receipt.png",
      "silt ingest photos/ --dry-run",
      "silt ingest photos/ --workers 2 --prune",
      "silt ingest photos/ --retry-failed",
      "silt ingest s3://uploads/2026 --store 's3://bucket/silt?table=silt'",
    ],
    async (run, [paths], flags) => {
      const { yes, ...options } = flags;
      const store = await run.store({ create: options.dryRun !== true });
      const start = run.host.nowMs();
      const report = await ingestWithBar(run, (onProgress) =>
        store.ingest(paths as readonly string[], {
          ...options,
          ...(yes !== undefined && { pruneAnyway: yes }),
          signal: run.signal,
          onProgress,
        }),
      );
      run.terminal.json(report);
      printReport(run, report, run.host.nowMs() - start);
      const exitCode: ExitCode = report.failed > 0 ? 1 : 0;
      return exitCode;
    },
  );
}

/** Runs an ingest under a progress bar. */
export async function ingestWithBar(
  run: CommandRun,
  ingest: (onProgress: NonNullable<IngestOptions["onProgress"]>) => Promise<IngestReport>,
): Promise<IngestReport> {
  const bar = run.terminal.progress("ingest", "pictures");
  try {
    return await ingest(({ done, total }) => bar.update(done, total));
  } finally {
    bar.end();
  }
}

function printReport({ terminal }: CommandRun, report: IngestReport, ms: number): void {
  const { paint } = terminal;
  if (report.plan !== undefined) {
    terminal.table(
      ["would be", "picture"],
      report.plan.map(({ action, source }) => [action, source]),
    );
    return;
  }
  const { ingested, skipped, failed, deleted, records } = report;
  const rate = ms > 0 && ingested > 0 ? `, ${((ingested * 1000) / ms).toFixed(1)} a second` : "";
  terminal.print(
    `${paint.bold(formatCount(ingested))} pictures ingested, ${formatCount(skipped)} unchanged, ` +
      `${formatCount(deleted)} deleted, ${failed === 0 ? "0" : paint.red(formatCount(failed))} failed ` +
      `in ${formatDuration(ms)}${rate}`,
  );
  terminal.print(
    `${formatCount(records.lines)} lines, ${formatCount(records.words)} words, ${formatCount(records.images)} images; ` +
      `${formatCount(report.registered)} runs registered, ready for --fresh reads and "silt compact"`,
  );
  for (const { source, message } of report.warnings.slice(0, LISTED_MAX)) {
    terminal.note(`${paint.yellow("warning")} ${plainText(source)}: ${plainText(message)}`);
  }
  for (const { source, reason } of report.failures.slice(0, LISTED_MAX)) {
    terminal.error(`${paint.red("failed")} ${plainText(source)}: ${plainText(reason)}`);
  }
  const more = report.failures.length - LISTED_MAX;
  if (more > 0) terminal.error(`… and ${formatCount(more)} more; --json lists all`);
  if (failed > 0) terminal.error('mend or remove them, or try again with "--retry-failed"');
}
