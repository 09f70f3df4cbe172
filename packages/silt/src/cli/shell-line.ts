const PLAIN = /^[\w@%+=:,./-]+$/;

/** A command line that a shell takes apart into exactly these words. */
export function shellLine(words: readonly string[]): string {
  return words
    .map((word) => (PLAIN.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(" ");
}
