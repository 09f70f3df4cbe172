import type { Command } from "commander";
import type { Inspection } from "../inspect-target.ts";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCount } from "../terminal/format-count.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CommandRun } from "./command-run.ts";
import type { Define } from "./program.ts";

export function defineInspect(program: Command, define: Define): void {
  const command = program
    .command("inspect")
    .description("look into one delta bundle or segment: what it holds, and whether it is sound")
    .argument("<target>", "a file, a key of the store, or a run id");
  define(
    command,
    [
      "silt inspect 0198d2f0-7c1e-7a30-8d11-5b6b0d6f2c11",
      "silt inspect collections/lines/…/snapshots/3-9f2c…/1-12.sqlite",
      "silt inspect ./copy-of-a-delta.tar --json",
    ],
    async (run, [target]) => {
      const store = await run.store();
      const found = await store.inspect(target as string);
      run.terminal.json(found);
      printInspection(run, found);
      return found.sound ? undefined : 3;
    },
  );
}

function printInspection({ terminal }: CommandRun, found: Inspection): void {
  const { paint } = terminal;
  const verdict = found.sound ? paint.green("sound") : paint.red("unsound");
  terminal.print(`${found.kind} ${verdict} ${plainText(found.target)}`);
  for (const problem of found.problems)
    terminal.print(`  ${paint.red("problem")} ${plainText(problem)}`);
  const range =
    found.firstSequence === null ? null : `${found.firstSequence} to ${found.lastSequence}`;
  const vectors =
    found.vectors &&
    `${found.vectors.dimension} x ${found.vectors.encoding}, ${found.vectors.metric}, ${found.vectors.embedder ?? "no embedder"}`;
  const facts: readonly (readonly [string, string | null])[] = [
    ["bytes", formatBytes(found.bytes)],
    ["sha256", found.sha256],
    ["collection", found.collection],
    ["shard", found.shard],
    ["run", found.runId],
    ["source", found.source],
    ["runs", range],
    ["vectors", vectors],
    ["puts", formatCount(found.rows.put)],
    ["patches", formatCount(found.rows.patch)],
    ["deletes", formatCount(found.rows.delete)],
    ["replaced parents", formatCount(found.replaced)],
    ["zero vectors", formatCount(found.zeroVectors)],
  ];
  terminal.table(
    ["what", "value"],
    facts.filter(([, value]) => value !== null),
  );
  if (found.parents.length === 0) return;
  const right = (title: string) => ({ title, align: "right" as const });
  terminal.print();
  terminal.table(
    ["parent", right("records"), right("zero"), right("norm min"), right("mean"), right("max")],
    found.parents.map((norms) => [
      norms.parent ?? "(none)",
      formatCount(norms.records),
      formatCount(norms.zeroVectors),
      norms.normMin.toFixed(4),
      norms.normMean.toFixed(4),
      norms.normMax.toFixed(4),
    ]),
  );
}
