/**
 * What functions that embed are made of; the library's front door is `index.ts`. Those that don't take
 * the files they need, for whatever is reached from here comes with the models into a bundle.
 */
export { createExtractPool, type ExtractPool } from "./ingest/extract-pool.ts";
export type { ImageFile, ImageSource } from "./ingest/image-source.ts";
export { createImageSources } from "./ingest/image-sources.ts";
export { IngestSession } from "./ingest/ingest-session.ts";
export { type IngestTargets, openTargets } from "./ingest/open-targets.ts";
export { createS3Source, isImageKey, s3Uri } from "./ingest/s3-source.ts";
export type { SourceOutcome } from "./ingest/source-outcome.ts";
export { openStore } from "./open-store.ts";
export type { Store } from "./store.ts";
