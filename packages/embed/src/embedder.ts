/** A picture as uploaded: any format that `prepareImage` decodes. */
export interface ImageInput {
  /** Names the picture in error messages. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What an embedder takes. */
export type Modality = "text" | "image" | "text+image";

/** What is known of an embedder without its model. */
export interface EmbedderDescription {
  /** The full id, to be stored with a collection: two models can share a dimension. */
  readonly id: string;
  readonly dimension: number;
  readonly modality: Modality;
}

/** Turns texts or pictures into vectors of `dimension` float32 components, of length 1. */
export interface Embedder extends EmbedderDescription {
  /** One vector a text, in order. Throws `invalid` for a blank text. Absent without text modality. */
  embedTexts?(texts: readonly string[]): Promise<readonly Float32Array[]>;
  /** Throws `invalid` for what is no picture. Absent without image modality. */
  embedImage?(image: ImageInput): Promise<Float32Array>;
  /** Gives the model back; the last user's close frees it. Twice is once. */
  close(): Promise<void>;
}
