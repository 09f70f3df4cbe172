import type { OcrLine, OcrPage, OcrWord } from "./ocr.ts";

/**
 * Confidence (0 to 100) from which a line counts as text. Measured on `examples/`: lines of receipts
 * and pages have 70 and more, texture of photographs read as letters at most 53.
 */
export const LINE_CONFIDENCE_MIN = 60;
/** Less for a word within such a line: odd type, but the line vouches for it. */
export const WORD_CONFIDENCE_MIN = 50;

/**
 * The lines and words of a page that are worth a record: on photographs the engine reads texture
 * as scattered letters. What is kept has a letter or digit and a sane confidence.
 */
export function legibleLines(page: OcrPage): OcrLine[] {
  return page.lines
    .filter((line) => isLegible(line, LINE_CONFIDENCE_MIN))
    .map((line) => ({
      ...line,
      words: line.words.filter((word) => isLegible(word, WORD_CONFIDENCE_MIN)),
    }))
    .filter((line) => line.words.length > 0);
}

function isLegible({ text, confidence }: OcrWord, confidenceMin: number): boolean {
  return confidence >= confidenceMin && /[\p{L}\p{N}]/u.test(text);
}
