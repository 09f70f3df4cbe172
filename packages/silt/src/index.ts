/** The library `silt`: see `openStore`. */
export type {
  Metadata,
  MetadataPatch,
  MetadataValue,
  Metric,
  PatchInput,
  Pin,
  Policy,
  RecordInput,
  ShardStatus,
  SiltErrorKind,
  VerifyReport,
} from "@silt/core";
export { isSiltError, SiltError } from "@silt/core";
export type { VersionSelection } from "@silt/reader";
export type { AcknowledgedRun, Acknowledgement } from "./acknowledgement.ts";
export type { AnswerOrigin } from "./answer-origin.ts";
export type { GcCandidate, GcOptions, GcReport } from "./collect-store.ts";
export type {
  CallOptions,
  Collection,
  DeleteOptions,
  FilterOptions,
  GetAnswer,
  GetOptions,
  QueryAnswer,
  QueryOptions,
  QueryResult,
  StoredRecord,
} from "./collection.ts";
export type { CollectionOptions } from "./collection-settings.ts";
export type { CollectionStatus } from "./collection-status.ts";
export type { CompactReport } from "./compact-store.ts";
export type { Failure } from "./each-collection.ts";
export type { ExportReport, ExportTarget } from "./export-collection.ts";
export type { HealthCheck, HealthReport } from "./health/health-report.ts";
export type { IngestOptions, IngestProgress, IngestReport } from "./ingest/ingest-paths.ts";
export type { SourceStatus } from "./ingest/source-status.ts";
export type { Inspection, ParentNorms } from "./inspect-target.ts";
export { type OpenStoreOptions, openStore } from "./open-store.ts";
export type { QuarantinedRun, RetryReport } from "./quarantine.ts";
export type { RebuildOptions, RebuildReport } from "./rebuild-collection.ts";
export type { RollbackOptions, RollbackPreview, RollbackReport } from "./rollback-collection.ts";
export type { Store } from "./store.ts";
export type { CompactOptions, PinOptions, PinReport, VerifyOptions } from "./store-options.ts";
export type { SweepOptions, SweepReport } from "./sweep-store.ts";
export type { CollectionVersions, ShardVersions, VersionReport } from "./version-report.ts";
export type { CollectionWriter, WriterOptions } from "./writer.ts";
