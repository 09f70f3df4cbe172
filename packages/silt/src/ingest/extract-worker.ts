/** Entry of an extraction thread: one picture at a time, with its own OCR engine and models. */
import { parentPort, type Transferable } from "node:worker_threads";
import { isSiltError, type Metadata, reasonOf, type SiltErrorKind } from "@silt/core";
import {
  type Embedder,
  type EmbedderDescription,
  type ExtractedRecord,
  extractImage,
  openEmbedder,
  type PipelineKind,
} from "@silt/embed";

export interface ExtractTask {
  readonly uri: string;
  readonly bytes: Uint8Array;
  readonly context?: string;
  readonly metadata: Metadata;
  readonly pipeline: PipelineKind;
  readonly textEmbedder: EmbedderDescription;
  readonly imageEmbedder: EmbedderDescription;
}

/** Records of one collection on their way between threads: all vectors lie in one buffer. */
export interface PackedRecords {
  readonly records: readonly Omit<ExtractedRecord, "embedding">[];
  readonly vectors: Float32Array<ArrayBuffer>;
}

export interface PackedImage {
  readonly lines: PackedRecords;
  readonly words: PackedRecords;
  readonly images: PackedRecords;
  readonly warnings: readonly string[];
}

export type ExtractReply =
  | { readonly kind: "extracted"; readonly image: PackedImage }
  | { readonly kind: "failed"; readonly errorKind: SiltErrorKind; readonly message: string };

/** A model is loaded at the first picture that needs it, and once a thread. */
function lazyEmbedder(description: EmbedderDescription): Embedder {
  const open = () => openEmbedder(description.id);
  return {
    ...description,
    ...(description.modality.includes("text") && {
      embedTexts: async (texts) => (await open()).embedTexts?.(texts) ?? [],
    }),
    ...(description.modality.includes("image") && {
      embedImage: async (image) => (await open()).embedImage?.(image) ?? new Float32Array(0),
    }),
    close: async () => {},
  };
}

function pack(records: readonly ExtractedRecord[]): PackedRecords {
  const dimension = records[0]?.embedding.length ?? 0;
  const vectors = new Float32Array(records.length * dimension);
  for (const [index, { embedding }] of records.entries()) {
    vectors.set(embedding, index * dimension);
  }
  return { records: records.map(({ embedding: _, ...rest }) => rest), vectors };
}

async function extract(task: ExtractTask): Promise<PackedImage> {
  const { lines, words, images, warnings } = await extractImage({
    ...task,
    textEmbedder: lazyEmbedder(task.textEmbedder),
    imageEmbedder: lazyEmbedder(task.imageEmbedder),
  });
  return { lines: pack(lines), words: pack(words), images: pack(images), warnings };
}

const port = parentPort;
if (port === null) throw new Error("extract-worker runs only as a worker thread");

port.on("message", async (task: ExtractTask) => {
  try {
    const image = await extract(task);
    const buffers: Transferable[] = [image.lines, image.words, image.images].map(
      ({ vectors }) => vectors.buffer,
    );
    port.postMessage({ kind: "extracted", image } satisfies ExtractReply, buffers);
  } catch (error) {
    const errorKind = isSiltError(error) ? error.kind : "internal";
    const reply: ExtractReply = { kind: "failed", errorKind, message: reasonOf(error) };
    port.postMessage(reply);
  }
});
