import { isSiltError, reasonOf, SiltError } from "@silt/core";
import type { Page } from "tesseract.js";
import { type OcrEngine, startOcrEngine } from "./ocr-engine.ts";
import type { PreparedImage } from "./prepare-image.ts";

/** In pixels of the prepared picture, from its upper left corner. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface OcrWord {
  readonly text: string;
  /** 0 to 100. */
  readonly confidence: number;
  readonly box: Box;
}

export interface OcrLine extends OcrWord {
  readonly words: readonly OcrWord[];
}

/** What was read, in reading order. Width and height are the prepared picture's, in pixels. */
export interface OcrPage {
  readonly width: number;
  readonly height: number;
  readonly lines: readonly OcrLine[];
}

/** Receipts take 0.3 s; what takes longer than this hangs. */
export const OCR_MS_MAX = 120_000;

/** One per process, started at the first picture and used for all that follow. */
let engine: OcrEngine | undefined;
/** The engine reads one picture at a time; settles when the last in the queue is done. */
let queue: Promise<unknown> = Promise.resolve();

/** `msMax`: time for one picture, waiting for its turn excluded. */
export interface OcrOptions {
  readonly signal?: AbortSignal | undefined;
  readonly msMax?: number;
}

/**
 * Reads the text of a prepared picture. Pictures wait for each other. Throws `unavailable` when the
 * engine can't start, fails or exceeds `msMax`; the next picture gets a new engine.
 */
export async function recognizeText(
  image: PreparedImage,
  options: OcrOptions = {},
): Promise<OcrPage> {
  const turn = queue.then(() => recognizeNow(image, options));
  queue = turn.catch(() => {});
  return await turn;
}

/** Ends the engine. A later {@link recognizeText} starts another. */
export async function closeOcr(): Promise<void> {
  const closing = engine;
  engine = undefined;
  await closing?.end();
}

async function recognizeNow(
  image: PreparedImage,
  { signal, msMax = OCR_MS_MAX }: OcrOptions,
): Promise<OcrPage> {
  signal?.throwIfAborted();
  engine ??= startOcrEngine();
  const used = engine;
  const limit = interruption(signal, msMax);
  try {
    used.setBusy(true);
    const work = used.worker.then((worker) =>
      Promise.race([worker.recognize(Buffer.from(image.bytes), {}, { blocks: true }), used.death]),
    );
    const { data } = await Promise.race([work, limit.promise]);
    used.setBusy(false);
    return { width: image.width, height: image.height, lines: linesOf(data) };
  } catch (error) {
    // After any failure the engine's memory is suspect.
    if (engine === used) engine = undefined;
    await used.end();
    if (isSiltError(error) || signal?.aborted === true) throw error;
    throw new SiltError(
      "unavailable",
      `Cannot recognize text in "${image.name}": ${reasonOf(error)}, expected lines`,
      { cause: error },
    );
  } finally {
    limit.release();
  }
}

/** Rejects when the caller gives up or time runs out. */
function interruption(signal: AbortSignal | undefined, msMax: number) {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  const onAbort = () => reject(signal?.reason);
  const timer = setTimeout(() => reject(new Error(`it took over ${msMax} ms`)), msMax);
  signal?.addEventListener("abort", onAbort);
  return {
    promise,
    release: () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    },
  };
}

function linesOf(page: Page): OcrLine[] {
  const paragraphs = (page.blocks ?? []).flatMap((block) => block.paragraphs);
  return paragraphs
    .flatMap((paragraph) => paragraph.lines)
    .map((line) => ({
      ...recognized(line),
      words: line.words.map(recognized),
    }));
}

function recognized(part: {
  readonly text: string;
  readonly confidence: number;
  readonly bbox: {
    readonly x0: number;
    readonly y0: number;
    readonly x1: number;
    readonly y1: number;
  };
}): OcrWord {
  const { x0, y0, x1, y1 } = part.bbox;
  return {
    text: part.text.trim(),
    confidence: Math.round(part.confidence * 10) / 10,
    box: { x: x0, y: y0, width: x1 - x0, height: y1 - y0 },
  };
}
