import type { CandidateReason } from "@silt/core";
import type { Command } from "commander";
import type { GcReport } from "../collect-store.ts";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCount } from "../terminal/format-count.ts";
import { formatCounted } from "../terminal/format-counted.ts";
import type { CommandRun, ExitCode } from "./command-run.ts";
import type { Define } from "./program.ts";

const REASONS: Readonly<Record<CandidateReason, string>> = {
  "old-version": "of a version beyond retention",
  unreferenced: "no version that is kept lists it",
  unregistered: "a bundle that was never registered",
  applied: "a bundle that is applied, older than it is kept",
};

export function defineGc(program: Command, define: Define): void {
  const command = program
    .command("gc")
    .description(
      "what nothing needs any more: a plan; with --delete, what was planned a grace ago goes",
    )
    .argument("[collection]")
    .option("--delete", "delete what is ripe; without it nothing is deleted");
  define<{ delete?: boolean }>(
    command,
    ["silt gc", "silt gc --delete", "silt gc notes --json"],
    async (run, [name], options) => {
      const store = await run.store();
      const reports = await store.gc({
        collection: name as string | undefined,
        delete: options.delete,
        signal: run.signal,
      });
      const deletedBytes = bytesOf(reports.flatMap(({ deleted }) => deleted));
      run.terminal.json({ shards: reports, deletedBytes });
      printPlan(run, reports, options.delete === true);
      return exitCodeOf(reports);
    },
  );
}

const bytesOf = (objects: readonly { readonly bytes: number }[]): number =>
  objects.reduce((sum, { bytes }) => sum + bytes, 0);

function printPlan({ terminal }: CommandRun, reports: readonly GcReport[], deletes: boolean): void {
  const { paint } = terminal;
  const planned = reports.flatMap(({ candidates }) => candidates);
  const deleted = reports.flatMap((report) => report.deleted);
  const gone = new Set(deleted.map(({ key }) => key));
  if (planned.length === 0) terminal.print("everything that is there is needed");
  else {
    terminal.table(
      [
        "object",
        { title: "bytes", align: "right" },
        { title: "why", shrinks: true },
        "since",
        "state",
      ],
      planned.map(({ key, bytes, why, since, ripe, ripeAt }) => [
        key,
        formatBytes(bytes),
        REASONS[why],
        since,
        gone.has(key) ? "deleted" : ripe ? (deletes ? "kept" : "ripe") : `ripe at ${ripeAt}`,
      ]),
    );
  }
  for (const { collection, shard, retired, abandoned, fenced, error } of reports) {
    const where = `${collection} ${shard ?? ""}`.trimEnd();
    if (retired.length > 0)
      terminal.note(`${where}: given up for good: versions ${retired.join(", ")}`);
    if (abandoned > 0)
      terminal.note(`${where}: given up for good: ${formatCounted(abandoned, "bundle")}`);
    if (fenced) terminal.note(`${where}: flipped once, to tell leftovers from work`);
    if (error !== undefined) terminal.error(`${paint.red("error")} ${where}: ${error.message}`);
  }
  if (deletes) {
    if (planned.some(({ key, ripe }) => ripe && !gone.has(key))) {
      terminal.note(
        "kept: needed again, pinned, of a version that is not given up yet, or of work that may go on; the next pass looks again",
      );
    }
    terminal.print(
      `deleted ${formatCounted(deleted.length, "object")}, ${formatBytes(bytesOf(deleted))}`,
    );
    return;
  }
  const ripe = planned.filter((one) => one.ripe);
  if (planned.length > 0) {
    terminal.print(
      `ripe: ${formatCount(ripe.length)} of ${formatCounted(planned.length, "object")} (${formatBytes(bytesOf(ripe))}); ` +
        "nothing was deleted, --delete does",
    );
  }
}

function exitCodeOf(reports: readonly GcReport[]): ExitCode | undefined {
  const kinds = new Set(reports.flatMap(({ error }) => (error === undefined ? [] : [error.kind])));
  if (kinds.has("corrupt")) return 3;
  if (kinds.has("internal") || kinds.has("invalid")) return 1;
  return kinds.size > 0 ? 4 : undefined;
}
