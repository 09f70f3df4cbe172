/** What the functions in `lambdas/` are made of; the library's front door is `index.ts`. */
export type { QueryOptions } from "./collection.ts";
export type { CollectionOptions } from "./collection-settings.ts";
export { createExtractPool, type ExtractPool } from "./ingest/extract-pool.ts";
export type { ImageFile, ImageSource } from "./ingest/image-source.ts";
export { createImageSources } from "./ingest/image-sources.ts";
export type { IngestOptions } from "./ingest/ingest-report.ts";
export { IngestSession } from "./ingest/ingest-session.ts";
export { type IngestTargets, openTargets } from "./ingest/open-targets.ts";
export { createS3Source, isImageKey, s3Uri } from "./ingest/s3-source.ts";
export type { SourceOutcome } from "./ingest/source-outcome.ts";
export { openStore } from "./open-store.ts";
export type { Store } from "./store.ts";
