import type { Command } from "commander";
import type { RebuildReport } from "../rebuild-collection.ts";
import { formatCounted } from "../terminal/format-counted.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CommandRun, ExitCode } from "./command-run.ts";
import type { Define } from "./program.ts";

export function defineRebuild(program: Command, define: Define): void {
  const command = program
    .command("rebuild")
    .description(
      "fold the log from its start and compare it with the current version; changes nothing",
    )
    .argument("[collection]");
  define(command, ["silt rebuild", "silt rebuild notes --json"], async (run, [name]) => {
    const store = await run.store();
    const bar = run.terminal.progress("rebuild", "runs");
    let shards: readonly RebuildReport[];
    try {
      shards = await store.rebuild(name as string | undefined, {
        signal: run.signal,
        onProgress: (done, total) => bar.update(done, total),
      });
    } finally {
      bar.end();
    }
    const exitCode = exitCodeOf(shards);
    run.terminal.json({ ok: exitCode === 0, shards });
    printRebuild(run, shards);
    return exitCode;
  });
}

function printRebuild({ terminal }: CommandRun, shards: readonly RebuildReport[]): void {
  const { paint } = terminal;
  if (shards.length === 0) terminal.print("there is no collection yet");
  for (const report of shards) {
    if (report.outcome === "failed") {
      const { collection, shard, error } = report;
      const where = `${collection} ${shard ?? ""}`.trimEnd();
      terminal.error(`${paint.red("error")} ${where}: ${plainText(error.message)}`);
      continue;
    }
    const { collection, shard, outcome, version, runs, rebuilt, current, gone, differs } = report;
    const where = `${collection} ${shard} version ${version}`;
    if (outcome === "equal") {
      terminal.print(
        `${paint.green("equal")} ${where}: ${formatCounted(runs, "run")} give its ${formatCounted(rebuilt ?? 0, "record")}`,
      );
    } else if (outcome === "bundles-gone") {
      terminal.print(
        `${paint.yellow("not provable")} ${where}: bundles of ${formatCounted(gone?.runs ?? 0, "run")} between ${gone?.from} and ${gone?.to} were collected; ` +
          `"silt policy ${collection} --keep-deltas-for forever" keeps later ones`,
      );
    } else {
      terminal.print(
        `${paint.red("different")} ${where}: the log gives ${formatCounted(rebuilt ?? 0, "record")}, the version has ${formatCounted(current ?? 0, "record")}`,
      );
      terminal.print(plainText(`  differing ids, the first of them: ${differs.join(", ")}`));
      terminal.print(`  ${paint.cyan("do")} keep everything, stop the compactor and report this`);
    }
  }
}

function exitCodeOf(shards: readonly RebuildReport[]): ExitCode {
  const kinds = new Set(shards.flatMap((one) => (one.outcome === "failed" ? one.error.kind : [])));
  if (kinds.has("corrupt") || shards.some(({ outcome }) => outcome === "different")) return 3;
  if (kinds.has("internal") || kinds.has("invalid")) return 1;
  return kinds.size > 0 ? 4 : 0;
}
