import type { Exclusion, Run, SnapshotManifest } from "./formats.ts";
import type { ReceivedRun } from "./receive-runs.ts";

/** The exclusions of the next version: all earlier ones, those that a run brought back closed, and the new ones. */
export function nextExclusions(
  manifest: Pick<SnapshotManifest, "excluded">,
  received: readonly ReceivedRun[],
  runs: readonly Run[],
  nowMs: number,
): readonly Exclusion[] {
  const poisoned = new Set(
    received.flatMap((run) => (run.outcome === "poison" ? [run.run.runId] : [])),
  );
  const retries = runs.filter((run) => run.retryOf !== null && !poisoned.has(run.runId));
  const inherited = manifest.excluded.map((exclusion): Exclusion => {
    const retry = retries.find(
      ({ retryOf }) => retryOf !== null && retryOf >= exclusion.from && retryOf <= exclusion.to,
    );
    return retry === undefined
      ? exclusion
      : { ...exclusion, retriedBy: exclusion.retriedBy ?? retry.runId };
  });
  const excludedAt = new Date(nowMs).toISOString();
  const added = received.flatMap((run): Exclusion[] => {
    if (run.outcome === "sound") return [];
    const { sequence, runId } = run.run;
    return [
      {
        from: sequence,
        to: sequence,
        runIds: [runId],
        cause: "poison",
        reason: run.reason,
        excludedAt,
        retriedBy: null,
      },
    ];
  });
  return [...inherited, ...added];
}
