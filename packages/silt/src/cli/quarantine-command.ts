import type { Command } from "commander";
import { formatCount } from "../terminal/format-count.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { Define } from "./program.ts";

export function defineQuarantine(program: Command, define: Define): void {
  const parent = program
    .command("quarantine")
    .description("runs that snapshots leave out because their bundle was damaged or hostile");
  define(
    parent.command("list").description("what was excluded, and why"),
    ["silt quarantine list", "silt quarantine list --json"],
    async (run) => {
      const store = await run.store();
      const runs = await store.quarantined();
      run.terminal.json({ runs });
      if (runs.length === 0) run.terminal.print("nothing is excluded");
      else {
        run.terminal.table(
          [
            "collection",
            "shard",
            { title: "run", align: "right" },
            "run id",
            "came back",
            { title: "reason", shrinks: true },
          ],
          runs.map(({ collection, shard, sequence, runId, retriedBy, reason }) => [
            collection,
            shard,
            formatCount(sequence),
            runId,
            retriedBy === null ? "no" : "yes",
            plainText(reason),
          ]),
        );
      }
      return undefined;
    },
  );
  define(
    parent
      .command("retry")
      .description("submit an excluded run again as a new run, for ids that were not written since")
      .argument("<run>", "its run id"),
    ["silt quarantine retry 0198d2f0-7c1e-7a30-8d11-5b6b0d6f2c11"],
    async (run, [runId]) => {
      const store = await run.store();
      const report = await store.retryQuarantined(runId as string);
      run.terminal.json(report);
      const { collection, skipped, run: registered } = report;
      run.terminal.print(
        `registered ${formatCount(registered.records)} in ${collection} ${registered.shard} run ${registered.sequence}` +
          (skipped === 0 ? "" : `; ${formatCount(skipped)} left out, for they were written since`),
      );
      return undefined;
    },
  );
}
