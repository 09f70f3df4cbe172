/** A dry run: every picture is looked at, nothing is read by OCR and nothing is written. */
import type { Ports } from "@silt/core";
import type { ImageRoot, ImageSource } from "./image-source.ts";
import type { IngestOptions, IngestReport, PlannedSource } from "./ingest-report.ts";
import type { IngestTally } from "./ingest-tally.ts";
import type { IngestTargets } from "./open-targets.ts";
import { lookAt } from "./prepare-source.ts";
import { goneSources } from "./prune-sources.ts";
import { createRunStandings } from "./run-standing.ts";

export async function planIngest(
  ports: Ports,
  targets: IngestTargets,
  request: {
    readonly sources: ImageSource;
    readonly roots: readonly ImageRoot[];
    readonly pruned: readonly ImageRoot[];
    readonly options: IngestOptions;
    readonly tally: IngestTally;
  },
): Promise<IngestReport> {
  const { sources, roots, pruned, options, tally } = request;
  const { signal, retryFailed = false } = options;
  const context = { ports, targets, sources, standings: createRunStandings(ports), retryFailed };
  const onDenied = (folder: string, message: string) => tally.warn(folder, `left out: ${message}`);
  const plan: PlannedSource[] = [];
  const seen = new Set<string>();
  for await (const file of sources.walk(roots, { signal, onDenied })) {
    const source = file.uri;
    if (seen.has(source)) continue;
    seen.add(source);
    const { read, judgement } = await lookAt(context, file);
    if (judgement?.verdict === "extract") {
      plan.push({ source, action: judgement.why });
    } else if (judgement?.verdict === "failed-before" || read.outcome === "denied") {
      const reason = judgement?.verdict === "failed-before" ? judgement.reason : "";
      tally.add({ source, outcome: "failed", reason: reason || deniedReason(read) });
      plan.push({ source, action: "failed" });
    } else if (judgement?.verdict === "unchanged") {
      tally.add({ source, outcome: "unchanged" });
      plan.push({ source, action: "unchanged" });
    }
  }
  for (const root of pruned) {
    for await (const { uri } of goneSources(ports, sources, root))
      plan.push({ source: uri, action: "gone" });
  }
  return { ...tally.report(), total: plan.filter(({ action }) => action !== "gone").length, plan };
}

function deniedReason(read: Awaited<ReturnType<typeof lookAt>>["read"]): string {
  return read.outcome === "denied" ? read.reason : "";
}
