import type { RegisteredRun } from "@silt/core";
import type { PipelineKind } from "@silt/embed";

export interface IngestOptions {
  /** Threads that read pictures; default 1. */
  readonly workers?: number | undefined;
  /** Default `auto`. */
  readonly pipeline?: PipelineKind | undefined;
  /** Say what would be done; change nothing. */
  readonly dryRun?: boolean | undefined;
  /** Try pictures again that failed before and did not change. */
  readonly retryFailed?: boolean | undefined;
  /** Delete the records of pictures that are gone from the given folders. */
  readonly prune?: boolean | undefined;
  /** Prune even when more than half of the known pictures are gone. */
  readonly pruneAnyway?: boolean | undefined;
  /** Default: that of the collections, else `use-lite`. */
  readonly textEmbedder?: string | undefined;
  /** Default: that of the collection, else `image-descriptor`. */
  readonly imageEmbedder?: string | undefined;
  /** What is in hand is still flushed. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: IngestProgress) => void) | undefined;
}

/** So far. A picture is done when what became of it is durable. */
export interface IngestProgress {
  readonly done: number;
  readonly total: number;
  readonly ingested: number;
  readonly skipped: number;
  readonly failed: number;
  /** The picture that was done last. */
  readonly source?: string;
  /** Of the pictures ingested. */
  readonly bytes: number;
}

export interface RecordCounts {
  readonly lines: number;
  readonly words: number;
  readonly images: number;
}

export interface SourceFailure {
  readonly source: string;
  readonly reason: string;
}

export interface PlannedSource {
  readonly source: string;
  readonly action: "new" | "changed" | "unchanged" | "failed" | "gone";
}

export interface IngestReport {
  /** Pictures seen. */
  readonly total: number;
  readonly ingested: number;
  readonly skipped: number;
  readonly failed: number;
  /** Pictures that were gone. */
  readonly deleted: number;
  readonly records: RecordCounts;
  /** All, also those that failed before and were not tried again. */
  readonly failures: readonly SourceFailure[];
  /** Runs registered. */
  readonly registered: number;
  /** The first {@link RUNS_MAX} of them. */
  readonly runs: readonly RegisteredRun[];
  /** The first {@link WARNINGS_MAX}. */
  readonly warnings: readonly { readonly source: string; readonly message: string }[];
  /** Dry runs only. */
  readonly plan?: readonly PlannedSource[];
}

export const WARNINGS_MAX = 1_000;
/** Millions of pictures make more runs than a report should hold. */
export const RUNS_MAX = 1_000;
