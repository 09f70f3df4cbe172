import type { SweepReport } from "@silt/core";
import type { Command } from "commander";
import { formatCount } from "../terminal/format-count.ts";
import { formatDuration } from "../terminal/format-duration.ts";
import type { CommandRun } from "./command-run.ts";
import { parseDuration } from "./option-values.ts";
import type { Define } from "./program.ts";

interface SweepFlags {
  readonly hintAfter?: number;
  readonly stuckAfter?: number;
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
    );
  define<SweepFlags>(
    command,
    ["silt sweep", "silt sweep notes --stuck-after 10m --json", "silt sweep && silt compact"],
    async (run, [name], { hintAfter, stuckAfter }) => {
      const store = await run.store();
      const shards = await store.sweep({
        collection: name as string | undefined,
        hintAfterMs: hintAfter,
        stuckAfterMs: stuckAfter,
      });
      const ok = shards.every(({ stuck }) => stuck === null);
      run.terminal.json({ ok, shards });
      printSweep(run, shards);
      return ok ? undefined : 3;
    },
  );
}

function printSweep({ terminal }: CommandRun, shards: readonly SweepReport[]): void {
  const { paint } = terminal;
  if (shards.length === 0) terminal.print("there is no collection yet");
  for (const report of shards) {
    const done = doneBy(report);
    const { collection, shard, pending, oldestPendingSeconds, stuck } = report;
    const waits =
      oldestPendingSeconds === null
        ? "nothing waits"
        : `${formatCount(pending)} runs wait, the oldest for ${formatDuration(oldestPendingSeconds * 1000)}`;
    terminal.print(`${collection} ${shard}: ${[waits, ...done].join("; ")}`);
    if (stuck !== null) terminal.print(`  ${paint.red("stuck")} ${stuck}`);
  }
}

function doneBy({ hinted, notedVersion, unpinned }: SweepReport): readonly string[] {
  return [
    ...(hinted ? ["hinted"] : []),
    ...(notedVersion === null ? [] : [`noted version ${notedVersion}`]),
    ...(unpinned.length === 0 ? [] : [`let versions ${unpinned.join(", ")} go`]),
  ];
}
