/** The story of a schedule: a hash of every step always, its words only when somebody asks. */
export class Trace {
  readonly lines: string[] = [];
  #hash = 0x811c9dc5;
  readonly #tells: boolean;

  constructor(tells: boolean) {
    this.#tells = tells;
  }

  /** Mixes a word into the hash (FNV-1a). */
  mix(word: string | number): void {
    const text = typeof word === "number" ? String(word) : word;
    let hash = this.#hash;
    for (let at = 0; at < text.length; at++) {
      hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    }
    this.#hash = hash;
  }

  tell(line: () => string): void {
    if (this.#tells) this.lines.push(line());
  }

  /** Eight hexadecimal digits: equal for equal schedules. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }
}
