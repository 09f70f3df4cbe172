/** The exclusions of a shard's current version: those that came back, and those that wait for somebody. */
import type { Exclusion, SnapshotManifest } from "./formats.ts";
import type { ShardRef } from "./ports.ts";
import { logObject, runsText } from "./verify-context.ts";
import type { Findings } from "./verify-report.ts";

/** What is wrong with the bundles of runs in quarantine, by sequence number. */
export type QuarantinedBundles = ReadonlyMap<number, string>;

/** The exclusion that a version has of a run. */
export function exclusionOf(
  manifest: SnapshotManifest | undefined,
  sequence: number,
): Exclusion | undefined {
  return manifest?.excluded.find(({ from, to }) => from <= sequence && sequence <= to);
}

/** Every exclusion of the current version: an open one waits for somebody, a rollback was somebody's will. */
export function reportExclusions(
  shard: ShardRef,
  excluded: readonly Exclusion[],
  quarantined: QuarantinedBundles,
  findings: Findings,
): void {
  for (const exclusion of excluded) {
    const { from, to, runIds, reason, retriedBy, excludedAt, cause } = exclusion;
    const object = logObject(shard, runsText(from, to));
    const what = `excluded since ${excludedAt}: ${reason}`;
    if (cause === "rollback") {
      findings.notice(object, "rolled-back", what);
      continue;
    }
    if (retriedBy !== null) {
      findings.notice(object, "excluded-run", `${what}; it came back as run ${retriedBy}`);
      continue;
    }
    const unfit = [...quarantined].filter(([sequence]) => from <= sequence && sequence <= to);
    const bundles = unfit.map(([sequence, told]) => `; bundle of run ${sequence} now: ${told}`);
    const commands = runIds.map((runId) => `"silt quarantine retry ${runId}"`).join(", ");
    const restore =
      unfit.length === 0
        ? "Bring the run back"
        : "Restore the bundle from a backup, then bring the run back";
    findings.problem(
      object,
      "excluded-run",
      `${runIds.join(", ")} ${what}${bundles.join("")}`,
      `${restore}: ${commands}.`,
    );
  }
}
