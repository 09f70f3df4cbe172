import type { Command } from "commander";
import type { RebuildReport } from "../rebuild-shard.ts";
import { formatCount } from "../terminal/format-count.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CommandRun } from "./command-run.ts";
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
    const ok = shards.every(({ outcome }) => outcome !== "different");
    run.terminal.json({ ok, shards });
    printRebuild(run, shards);
    return ok ? undefined : 3;
  });
}

function printRebuild({ terminal }: CommandRun, shards: readonly RebuildReport[]): void {
  const { paint } = terminal;
  if (shards.length === 0) terminal.print("there is no collection yet");
  for (const report of shards) {
    const { collection, shard, outcome, version, runs, rebuilt, current, gone, differs } = report;
    const where = `${collection} ${shard} version ${version}`;
    if (outcome === "equal") {
      terminal.print(
        `${paint.green("equal")} ${where}: ${formatCount(runs)} runs give its ${formatCount(rebuilt ?? 0)} records`,
      );
    } else if (outcome === "bundles-gone") {
      terminal.print(
        `${paint.yellow("not provable")} ${where}: bundles of ${formatCount(gone?.runs ?? 0)} runs between ${gone?.from} and ${gone?.to} were collected; ` +
          `"silt policy ${collection} --keep-deltas-for forever" keeps later ones`,
      );
    } else {
      terminal.print(
        `${paint.red("different")} ${where}: the log gives ${formatCount(rebuilt ?? 0)} records, the version has ${formatCount(current ?? 0)}`,
      );
      terminal.print(plainText(`  differing ids, the first of them: ${differs.join(", ")}`));
      terminal.print(`  ${paint.cyan("do")} keep everything, stop the compactor and report this`);
    }
  }
}
