import type { RegisteredRun } from "@silt/core";
import {
  type IngestOptions,
  type IngestReport,
  RUNS_MAX,
  type SourceFailure,
} from "./ingest-report.ts";
import type { SourceOutcome } from "./source-outcome.ts";

/** Adds outcomes up to a report, and tells the progress. */
export interface IngestTally {
  readonly add: (outcome: SourceOutcome) => void;
  readonly addRuns: (runs: readonly RegisteredRun[]) => void;
  readonly warn: (source: string, message: string) => void;
  readonly report: () => IngestReport;
}

export function createIngestTally(options: {
  readonly total: number;
  readonly warningsMax: number;
  readonly onProgress: IngestOptions["onProgress"];
}): IngestTally {
  const counts = { ingested: 0, skipped: 0, failed: 0, deleted: 0 };
  const records = { lines: 0, words: 0, images: 0 };
  const failures: SourceFailure[] = [];
  const runs: RegisteredRun[] = [];
  const warnings: { source: string; message: string }[] = [];
  let bytes = 0;
  let registered = 0;

  const done = () => counts.ingested + counts.skipped + counts.failed;
  const warn = (source: string, message: string) => {
    if (warnings.length < options.warningsMax) warnings.push({ source, message });
  };
  const count = (outcome: SourceOutcome) => {
    const { source } = outcome;
    switch (outcome.outcome) {
      case "unchanged":
        counts.skipped += 1;
        return;
      case "deleted":
        counts.deleted += 1;
        return;
      case "failed":
      case "denied":
      case "unsettled":
        counts.failed += 1;
        failures.push({ source, reason: outcome.reason });
        return;
      case "ingested":
        counts.ingested += 1;
        bytes += outcome.bytes;
        records.lines += outcome.records.lines;
        records.words += outcome.records.words;
        records.images += outcome.records.images;
        for (const message of outcome.warnings) warn(source, message);
    }
  };
  return {
    add(outcome) {
      count(outcome);
      const { ingested, skipped, failed } = counts;
      const { source } = outcome;
      const total = Math.max(options.total, done());
      options.onProgress?.({ done: done(), total, ingested, skipped, failed, source, bytes });
    },
    addRuns(more) {
      registered += more.length;
      runs.push(...more.slice(0, RUNS_MAX - runs.length));
    },
    warn,
    report: () => ({ total: done(), ...counts, records, failures, registered, runs, warnings }),
  };
}
