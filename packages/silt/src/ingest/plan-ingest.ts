/** A dry run: every picture is looked at, nothing is read by OCR and nothing is written. */
import type { Ports } from "@silt/core";
import type { ImageFile, ImageRoot, ImageSource } from "./image-source.ts";
import type { IngestOptions, IngestReport, PlannedSource } from "./ingest-report.ts";
import type { IngestTally } from "./ingest-tally.ts";
import type { IngestTargets } from "./open-targets.ts";
import { type LookedAt, lookAt, outdatedReason } from "./prepare-source.ts";
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
  const standings = createRunStandings(ports);
  const context = { ports, targets, sources, standings, retryFailed, signal };
  const onDenied = (folder: string, message: string) => tally.warn(folder, `left out: ${message}`);
  const plan: PlannedSource[] = [];
  const seen = new Set<string>();
  for await (const file of sources.walk(roots, { signal, onDenied })) {
    const source = file.uri;
    if (seen.has(source)) continue;
    seen.add(source);
    const looked = await lookAt(context, file);
    const { judgement } = looked;
    const reason = failureOf(file, looked);
    if (judgement?.verdict === "extract") {
      plan.push({ source, action: judgement.why });
    } else if (reason !== undefined) {
      tally.add({ source, outcome: "failed", reason });
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

/** Why nothing would be done about a picture that is not as it should be. */
function failureOf(file: ImageFile, { guard, read, judgement }: LookedAt): string | undefined {
  if (read.outcome === "denied") return read.reason;
  if (judgement?.verdict === "failed-before") return judgement.reason;
  const isOutdated = judgement?.verdict === "outdated" && read.outcome !== "gone";
  return isOutdated ? outdatedReason(file, guard) : undefined;
}
