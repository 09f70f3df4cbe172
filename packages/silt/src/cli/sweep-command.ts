import type { Command } from "commander";
import type { SweepReport } from "../sweep-store.ts";
import { formatCounted } from "../terminal/format-counted.ts";
import { formatDuration } from "../terminal/format-duration.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CommandRun, ExitCode } from "./command-run.ts";
import { exitCodeOf as exitCodeOfCompaction } from "./compact-command.ts";
import { parseDuration } from "./option-values.ts";
import type { Define } from "./program.ts";

interface SweepFlags {
  readonly hintAfter?: number;
  readonly stuckAfter?: number;
  readonly compact?: boolean;
}

export function defineSweep(program: Command, define: Define): void {
  const command = program
    .command("sweep")
    .description(
      "what a schedule runs: notes what was forgotten, hints at what waits, names what is stuck (exit code 3)",
    )
    .argument("[collection]")
    .option("--hint-after <duration>", "hint at runs that wait longer; default 1m", parseDuration)
    .option(
      "--stuck-after <duration>",
      "runs that wait longer are stuck; default 1h",
      parseDuration,
    )
    .option("--compact", "compact at once what is hinted at: nobody else does on one machine");
  define<SweepFlags>(
    command,
    ["silt sweep --compact", "silt sweep notes --stuck-after 10m --json", "silt sweep"],
    async (run, [name], { hintAfter, stuckAfter, compact }) => {
      const store = await run.store();
      const shards = await store.sweep({
        collection: name as string | undefined,
        hintAfterMs: hintAfter,
        stuckAfterMs: stuckAfter,
        compact,
        signal: run.signal,
      });
      const exitCode = exitCodeOf(shards);
      run.terminal.json({ ok: exitCode === 0, shards });
      printSweep(run, shards);
      return exitCode;
    },
  );
}

function printSweep({ terminal }: CommandRun, shards: readonly SweepReport[]): void {
  const { paint } = terminal;
  if (shards.length === 0) terminal.print("there is no collection yet");
  for (const report of shards) {
    const { collection, shard, stuck, compacted, error } = report;
    const where = `${collection} ${shard ?? ""}`.trimEnd();
    const failure = error ?? compacted?.error;
    if (error === undefined) {
      terminal.print(`${where}: ${[waitingOf(report), ...doneBy(report)].join("; ")}`);
    }
    if (failure !== undefined) {
      terminal.error(`${paint.red("error")} ${where}: ${plainText(failure.message)}`);
    }
    for (const { sequence, runId, reason } of compacted?.excluded ?? []) {
      terminal.error(
        `${paint.red("excluded")} ${where} run ${sequence} (${runId}): ${plainText(reason)}`,
      );
    }
    if (stuck !== null) terminal.print(`  ${paint.red("stuck")} ${plainText(stuck)}`);
  }
}

function waitingOf({ pending, oldestPendingSeconds }: SweepReport): string {
  if (oldestPendingSeconds === null) return "nothing pending";
  const runs = formatCounted(pending ?? 0, "run");
  return `${runs} pending, the oldest for ${formatDuration(oldestPendingSeconds * 1000)}`;
}

function doneBy({ hinted, notedVersion, unpinned, compacted }: SweepReport): readonly string[] {
  return [
    ...(hinted && compacted === null ? ["hinted"] : []),
    ...(compacted?.outcome === "flipped" ? [`compacted to version ${compacted.version}`] : []),
    ...(compacted?.outcome === "busy" ? [`${compacted.holder} compacts it`] : []),
    ...(notedVersion === null ? [] : [`noted version ${notedVersion}`]),
    ...(unpinned.length === 0 ? [] : [`let versions ${unpinned.join(", ")} go`]),
  ];
}

/** The worst of all. That somebody else compacts is as it should be. */
function exitCodeOf(shards: readonly SweepReport[]): ExitCode {
  const kinds = new Set(shards.map(({ error }) => error?.kind));
  const failed = shards.flatMap(({ compacted }) =>
    compacted === null || compacted.outcome === "busy" || compacted.outcome === "lost"
      ? []
      : [compacted],
  );
  const code = exitCodeOfCompaction(failed);
  if (kinds.has("corrupt") || shards.some(({ stuck }) => stuck !== null) || code === 3) return 3;
  if (kinds.has("internal") || kinds.has("invalid") || code === 1) return 1;
  return kinds.size > (kinds.has(undefined) ? 1 : 0) ? 4 : code;
}
