/** The library `silt`: see `openStore`. */
export type {
  Metadata,
  MetadataPatch,
  MetadataValue,
  Metric,
  PatchInput,
  RecordInput,
  ShardStatus,
  SiltErrorKind,
  VerifyReport,
} from "@silt/core";
export { isSiltError, SiltError } from "@silt/core";
export type { AcknowledgedRun, Acknowledgement } from "./acknowledgement.ts";
export type {
  AnswerOrigin,
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
export type { CompactReport } from "./compact-store.ts";
export type { ExportReport, ExportTarget } from "./export-collection.ts";
export type { IngestOptions, IngestProgress, IngestReport } from "./ingest/ingest-paths.ts";
export type { SourceStatus } from "./ingest/source-status.ts";
export type { Inspection, ParentNorms } from "./inspect-target.ts";
export { type OpenStoreOptions, openStore } from "./open-store.ts";
export type { QuarantinedRun, RetryReport } from "./quarantine.ts";
export type {
  CollectionOptions,
  CollectionStatus,
  CompactOptions,
  Store,
  VerifyOptions,
} from "./store.ts";
export type { CollectionWriter, WriterOptions } from "./writer.ts";
