import type { RecordCounts } from "./ingest-report.ts";
import type { SourceChange } from "./source-change.ts";

/** What became of one picture; durable when it is told. */
export type SourceOutcome =
  | {
      readonly source: string;
      readonly outcome: "ingested";
      readonly records: RecordCounts;
      readonly warnings: readonly string[];
      readonly bytes: number;
    }
  | { readonly source: string; readonly outcome: "unchanged" | "deleted" }
  | { readonly source: string; readonly outcome: "failed"; readonly reason: string }
  /** It may not be read: nothing is known of it, and nothing was changed. */
  | { readonly source: string; readonly outcome: "denied"; readonly reason: string }
  /** It is not as it should be, and this process can't make it so: to be taken up again. */
  | { readonly source: string; readonly outcome: "unsettled"; readonly reason: string }
  /** It is gone and was never known. */
  | { readonly source: string; readonly outcome: "nothing" };

/** The outcome of a change that was registered. */
export function outcomeOf(change: SourceChange): SourceOutcome {
  const source = change.file.uri;
  switch (change.change) {
    case "deleted":
      return { source, outcome: "deleted" };
    case "failed":
      return { source, outcome: "failed", reason: change.reason };
    case "ingested": {
      const { rows, warnings, bytes } = change.extraction;
      const records = {
        lines: rows.get("lines")?.length ?? 0,
        words: rows.get("words")?.length ?? 0,
        images: rows.get("images")?.length ?? 0,
      };
      return { source, outcome: "ingested", records, warnings, bytes };
    }
  }
}
