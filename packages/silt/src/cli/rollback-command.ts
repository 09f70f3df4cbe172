import type { Command } from "commander";
import type { RollbackPreview, RollbackReport } from "../rollback-collection.ts";
import { formatCount } from "../terminal/format-count.ts";
import { formatCounted } from "../terminal/format-counted.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CommandRun, ExitCode } from "./command-run.ts";
import { confirm, isInteractive } from "./confirm.ts";
import { parseVersionNumber } from "./option-values.ts";
import type { Define } from "./program.ts";
import { shellLine } from "./shell-line.ts";
import { targetOf } from "./version-target.ts";

interface RollbackFlags {
  readonly shard?: string;
  readonly base?: number;
  readonly reason?: string;
  readonly yes?: boolean;
  readonly store?: string;
}

const SOURCES_SHOWN = 10;

export function defineRollback(program: Command, define: Define): void {
  const command = program
    .command("rollback")
    .description(
      "a new version with the content of an old one; the runs between are left out for good, pending ones still apply",
    )
    .argument("<target...>", "[COLLECTION] VERSION; COLLECTION when there are several")
    .option("--shard <name>", "which shard, where there are several, like 0-of-4")
    .option("--base <version>", "refuse unless this is the current version", parseVersionNumber)
    .option("--reason <text>", "noted in the new version")
    .option("--yes", "don't ask; without a terminal nobody is asked");
  define<RollbackFlags>(
    command,
    [
      "silt rollback notes 12",
      'silt rollback 12 --base 14 --reason "bad import"',
      "silt rollback notes 7 --shard 0-of-4",
    ],
    async (run, [target], flags) => {
      const { shard, reason, yes } = flags;
      const { signal } = run;
      const store = await run.store();
      const [name, version] = await targetOf(store, target as readonly string[]);
      let baseVersion = flags.base;
      if (isInteractive(run) && yes !== true) {
        const preview = await store.previewRollback(name, version, { shard, signal });
        printPreview(run, preview);
        if (!(await confirm(run, "Leave that out for good?"))) {
          run.terminal.error("nothing was changed");
          return 1;
        }
        // What the person has seen is what is undone.
        baseVersion ??= preview.from;
      }
      const report = await store.rollback(name, version, { shard, baseVersion, reason, signal });
      run.terminal.json(report);
      return printRollback(run, report, flags);
    },
  );
}

function printPreview({ terminal }: CommandRun, preview: RollbackPreview): void {
  const { collection, shard, from, to, undone, sources } = preview;
  terminal.print(
    `${collection} ${shard}: from version ${from} back to ${to} undoes ${formatCounted(undone.records, "record")} of ` +
      `${formatCounted(undone.runs, "run")}${sources.length === 0 ? "" : `, of ${formatCounted(sources.length, "source")}:`}`,
  );
  for (const source of sources.slice(0, SOURCES_SHOWN)) terminal.print(`  ${plainText(source)}`);
  if (sources.length > SOURCES_SHOWN) {
    terminal.print(`  and ${formatCount(sources.length - SOURCES_SHOWN)} more`);
  }
}

function printRollback(
  { terminal }: CommandRun,
  report: RollbackReport,
  { store }: RollbackFlags,
): ExitCode | undefined {
  const { collection, shard, outcome, from, to, version, undone, sources } = report;
  if (outcome === "busy") {
    terminal.error(`${collection} ${shard}: ${report.holder} compacts it; try again`);
    return 4;
  }
  if (outcome === "lost") {
    terminal.error(
      `${collection} ${shard}: somebody else made version ${version}; look at it, then try again`,
    );
    return 4;
  }
  terminal.print(
    `${collection} ${shard}: version ${version} holds what version ${to} held; ` +
      `left out for good: ${formatCounted(undone.records, "record")} of ${formatCounted(undone.runs, "run")} since then`,
  );
  const old = shard === "0-of-1" ? `${from}` : `${shard}=${from}`;
  const place = store === undefined ? [] : ["--store", store];
  const exported = ["silt", "export", collection, "--jsonl", "FILE", "--version", old, ...place];
  terminal.note(`version ${from} can still be read: ${shellLine(exported)}`);
  for (const warning of report.warnings) {
    terminal.note(`${terminal.paint.yellow("warning")} ${plainText(warning)}`);
  }
  if (sources.length === 0) return undefined;
  terminal.print(
    `no longer as their files are: ${formatCounted(sources.length, "source")}; what brings them up to date:`,
  );
  for (const call of report.ingest) {
    terminal.print(`  ${plainText(shellLine(["silt", "ingest", ...call, ...place]))}`);
  }
  if (report.elsewhere > 0) {
    terminal.note(
      `read on other machines: ${formatCounted(report.elsewhere, "source")}; ingest them there (--json names all)`,
    );
  }
  return undefined;
}
