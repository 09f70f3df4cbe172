import { basename } from "node:path/posix";
import { assert, idProblem, type Metadata, metadataProblem, SiltError } from "@silt/core";
import { blendContext, LINE_WEIGHTS, type WeightedVector, WORD_WEIGHTS } from "./blend-context.ts";
import type { Embedder } from "./embedder.ts";
import { legibleLines } from "./legible-text.ts";
import { type Box, type OcrLine, type OcrPage, recognizeText } from "./ocr.ts";
import { type PreparedImage, prepareImage } from "./prepare-image.ts";

/** `auto`: lines and words where there is text, and the picture; `text` or `image`: only that. */
export type PipelineKind = "auto" | "text" | "image";

/** A record as `put` takes it. `parent` is the picture's URI. */
export interface ExtractedRecord {
  readonly id: string;
  readonly parent: string;
  readonly document: string;
  readonly metadata: Metadata;
  readonly embedding: Float32Array;
}

/** The records of one picture, in reading order. A picture without text has no lines and words. */
export interface ExtractedImage {
  readonly lines: readonly ExtractedRecord[];
  readonly words: readonly ExtractedRecord[];
  readonly images: readonly ExtractedRecord[];
  readonly warnings: readonly string[];
}

export interface ExtractInput {
  readonly uri: string;
  readonly bytes: Uint8Array;
  /** What the caller knows of the picture (shop, place); embedded with every text. */
  readonly context?: string;
  /** Added to every record. A key of {@link RESERVED_METADATA_KEYS} is refused. */
  readonly metadata?: Metadata;
  readonly pipeline: PipelineKind;
  readonly textEmbedder: Embedder;
  readonly imageEmbedder: Embedder;
  readonly signal?: AbortSignal;
}

/** Metadata that extraction itself writes. Pixels are the prepared picture's, from the upper left. */
export const RESERVED_METADATA_KEYS = [
  "kind",
  "file",
  "line",
  "word",
  "position",
  "x",
  "y",
  "width",
  "height",
  "confidence",
  "page_width",
  "page_height",
] as const;

/**
 * One picture as records: prepare, read its text, embed lines and words with their context, embed
 * the picture. Throws `invalid` for what is no picture or has reserved metadata, `unavailable` when
 * the engine fails.
 */
export async function extractImage(input: ExtractInput): Promise<ExtractedImage> {
  checkInput(input);
  const file = fileNameOf(input.uri);
  const image = await prepareImage({ name: file, bytes: input.bytes });
  input.signal?.throwIfAborted();
  const warnings: string[] = [];
  if (image.width < image.originalWidth) {
    warnings.push(
      `read at ${image.width}x${image.height} pixels, ${image.originalWidth}x${image.originalHeight} is over the limit`,
    );
  }
  const text = input.pipeline === "image" ? NO_TEXT : await extractText(input, image, warnings);
  input.signal?.throwIfAborted();
  const images = input.pipeline === "text" ? [] : [await imageRecord(input, image)];
  return { ...text, images, warnings };
}

const NO_TEXT = { lines: [], words: [] };

function checkInput({ uri, metadata = {} }: ExtractInput): void {
  const reserved = RESERVED_METADATA_KEYS.find((key) => Object.hasOwn(metadata, key));
  const problem =
    idProblem(wordId(uri, 9_999_999), "uri") ??
    metadataProblem(metadata, "refused") ??
    (reserved && `metadata key "${reserved}" is reserved, expected another name`);
  if (problem === undefined) return;
  throw new SiltError("invalid", `Cannot extract "${uri.slice(0, 200)}": ${problem}`);
}

async function extractText(input: ExtractInput, image: PreparedImage, warnings: string[]) {
  const { signal } = input;
  const page = await recognizeText(image, { signal });
  const lines = legibleLines(page);
  const left = countWords(page.lines) - countWords(lines);
  if (left > 0) warnings.push(`left out ${left} marks that are no legible words`);
  if (lines.length === 0) return NO_TEXT;
  signal?.throwIfAborted();
  const vectorOf = await embedDistinct(input, lines);
  return textRecords(input, page, lines, vectorOf);
}

function countWords(lines: readonly OcrLine[]): number {
  return lines.reduce((sum, line) => sum + line.words.length, 0);
}

/** Embeds each distinct text of a page once, and looks it up. */
async function embedDistinct(
  { textEmbedder, context }: ExtractInput,
  lines: readonly OcrLine[],
): Promise<(text: string) => Float32Array> {
  if (textEmbedder.embedTexts === undefined) {
    throw new SiltError(
      "invalid",
      `Cannot embed text with "${textEmbedder.id}": it embeds pictures only, expected a text embedder such as "use-lite"`,
    );
  }
  const texts = new Set(lines.flatMap((line) => [line.text, ...line.words.map((w) => w.text)]));
  if (isPresent(context)) texts.add(context);
  const distinct = [...texts];
  const vectors = await textEmbedder.embedTexts(distinct);
  const byText = new Map(distinct.map((text, index) => [text, vectors[index]]));
  return (text) => {
    const vector = byText.get(text);
    assert(vector !== undefined, "every text of the page was embedded");
    return vector;
  };
}

function isPresent(context: string | undefined): context is string {
  return context !== undefined && context.trim() !== "";
}

function textRecords(
  input: ExtractInput,
  page: OcrPage,
  lines: readonly OcrLine[],
  vectorOf: (text: string) => Float32Array,
): Pick<ExtractedImage, "lines" | "words"> {
  const { uri, context } = input;
  const part = (text: string | undefined, weight: number): WeightedVector[] =>
    isPresent(text) ? [{ vector: vectorOf(text), weight }] : [];
  const lineRecords: ExtractedRecord[] = [];
  const wordRecords: ExtractedRecord[] = [];
  for (const [index, line] of lines.entries()) {
    const number = index + 1;
    lineRecords.push({
      id: `${uri}#line-${padded(number)}`,
      parent: uri,
      document: line.text,
      metadata: textMetadata(input, page, line, { kind: "line", line: number, position: number }),
      embedding: blendContext([
        ...part(line.text, LINE_WEIGHTS.own),
        ...part(lines[index - 1]?.text, LINE_WEIGHTS.previous),
        ...part(lines[index + 1]?.text, LINE_WEIGHTS.next),
        ...part(context, LINE_WEIGHTS.context),
      ]),
    });
    for (const [offset, word] of line.words.entries()) {
      const position = wordRecords.length + 1;
      const own = { kind: "word", line: number, word: offset + 1, position };
      wordRecords.push({
        id: wordId(uri, position),
        parent: uri,
        document: word.text,
        metadata: textMetadata(input, page, word, own),
        embedding: blendContext([
          ...part(word.text, WORD_WEIGHTS.own),
          ...part(line.text, WORD_WEIGHTS.line),
          ...part(context, WORD_WEIGHTS.context),
        ]),
      });
    }
  }
  return { lines: lineRecords, words: wordRecords };
}

/** `own` last: where on the page a record is can't be overridden. */
function textMetadata(
  { uri, metadata }: ExtractInput,
  page: OcrPage,
  { box, confidence }: { readonly box: Box; readonly confidence: number },
  own: Metadata,
): Metadata {
  return {
    ...metadata,
    file: fileNameOf(uri),
    ...box,
    confidence,
    page_width: page.width,
    page_height: page.height,
    ...own,
  };
}

async function imageRecord(input: ExtractInput, image: PreparedImage): Promise<ExtractedRecord> {
  const { uri, context, metadata, imageEmbedder } = input;
  if (imageEmbedder.embedImage === undefined) {
    throw new SiltError(
      "invalid",
      `Cannot embed pictures with "${imageEmbedder.id}": it embeds text only, expected an image embedder such as "image-descriptor"`,
    );
  }
  const file = fileNameOf(uri);
  const { width, height } = image;
  return {
    id: `${uri}#image`,
    parent: uri,
    document: isPresent(context) ? `${file}: ${context}` : file,
    metadata: { ...metadata, kind: "image", file, page_width: width, page_height: height },
    embedding: await imageEmbedder.embedImage(image),
  };
}

const padded = (number: number) => String(number).padStart(4, "0");

function wordId(uri: string, position: number): string {
  return `${uri}#word-${padded(position)}`;
}

/** The last part of a URI's path; that of a file is percent-decoded where that gives a name. */
function fileNameOf(uri: string): string {
  const last = basename(uri);
  if (!uri.startsWith("file:")) return last;
  try {
    const decoded = decodeURIComponent(last);
    return decoded.includes("\0") ? last : decoded;
  } catch {
    return last; // a stray "%" is part of the name
  }
}
