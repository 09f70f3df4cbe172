import { SiltError } from "./silt-error.ts";

const NOTE_CHARS_MAX = 1_000;

/** Throws `invalid` for a name or reason that cannot be kept: manifests and the log hold it for long. */
export function checkNote(action: string, what: string, text: string): void {
  const refuse = (state: string): never => {
    throw new SiltError("invalid", `Cannot ${action}: its ${what} ${state}`);
  };
  if (text.length > NOTE_CHARS_MAX) {
    refuse(`has ${text.length} characters, expected at most ${NOTE_CHARS_MAX}`);
  }
  if (!text.isWellFormed()) refuse("holds an unpaired surrogate");
}
