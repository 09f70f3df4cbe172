import { LINE_WEIGHTS, WORD_WEIGHTS } from "./blend-context.ts";
import { parseEmbedderId } from "./embedder-id.ts";
import type { PipelineKind } from "./extract-image.ts";
import { LINE_CONFIDENCE_MIN, WORD_CONFIDENCE_MIN } from "./legible-text.ts";
import { OCR_ENGINE } from "./ocr-engine.ts";
import { PREPARED_PIXELS_MAX, PREPARED_SIDE_MAX } from "./prepare-image.ts";

/** Raised by hand whenever extraction gives other records for the same picture. */
export const PIPELINE_VERSION = 1;

/**
 * Names everything that changes what a picture becomes, and nothing that doesn't: equal ids mean
 * that an unchanged picture needs no second ingest. Throws `invalid` for unknown embedders.
 */
export function pipelineId(options: {
  readonly pipeline: PipelineKind;
  readonly textEmbedder: string;
  readonly imageEmbedder: string;
}): string {
  const { pipeline } = options;
  const parts = [
    `silt-image-${PIPELINE_VERSION}`,
    `pipeline=${pipeline}`,
    `pixels<=${PREPARED_PIXELS_MAX},side<=${PREPARED_SIDE_MAX}`,
  ];
  if (pipeline !== "image") {
    parts.push(
      `ocr=${OCR_ENGINE}`,
      `confidence>=${LINE_CONFIDENCE_MIN},${WORD_CONFIDENCE_MIN}`,
      `weights=${[...Object.values(LINE_WEIGHTS), ...Object.values(WORD_WEIGHTS)].join(",")}`,
      `text=${parseEmbedderId(options.textEmbedder).id}`,
    );
  }
  if (pipeline !== "text") parts.push(`image=${parseEmbedderId(options.imageEmbedder).id}`);
  return parts.join(";");
}
