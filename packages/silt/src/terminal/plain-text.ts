const WHITESPACE_CONTROLS = /[\t\n\v\f\r\u2028\u2029]+/g;
/** Controls, what turns the direction of writing, and halves of surrogate pairs. */
const UNPRINTABLE = /[\p{Cc}\p{Bidi_Control}\p{Cs}]/gu;
const CONTROL_PICTURES = 0x2400;
const DELETE = 0x7f;

function pictureOf(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(CONTROL_PICTURES + code);
  return code === DELETE ? "\u2421" : "\ufffd";
}

/**
 * Text from outside (ids, documents, paths) as one harmless line: line breaks and tabs become a
 * blank, any other control character a visible sign (ESC is `␛`), so that data can neither send
 * escape sequences to the terminal, nor forge a line, nor turn the direction of writing.
 */
export function plainText(text: string): string {
  return text.replace(WHITESPACE_CONTROLS, " ").replace(UNPRINTABLE, pictureOf);
}
