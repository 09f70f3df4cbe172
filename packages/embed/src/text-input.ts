import { SiltError } from "@silt/core";

/** Characters of a text that are embedded; models look no further than some 500 tokens. */
export const TEXT_CHARS_MAX = 2_000;

/** Trims and bounds texts. Throws `invalid` for a blank one, which has no meaning to embed. */
export function checkTexts(embedder: string, texts: readonly string[]): string[] {
  return texts.map((text, index) => {
    const trimmed = text.trim();
    if (trimmed === "") {
      throw new SiltError(
        "invalid",
        `Cannot embed text ${index + 1} of ${texts.length} with "${embedder}": it is blank, expected words`,
      );
    }
    return trimmed.slice(0, TEXT_CHARS_MAX).toWellFormed();
  });
}
