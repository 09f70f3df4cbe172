/**
 * What the vectors of all open snapshots of a process may take together. Those that find no room are read
 * from disk for each query: slower, but alive.
 */
export class VectorMemory {
  #bytesLeft: number;

  /** In bytes of WebAssembly memory. Default: no limit but that of each snapshot. */
  constructor(bytesMax = Number.POSITIVE_INFINITY) {
    this.#bytesLeft = bytesMax;
  }

  get bytesLeft(): number {
    return Math.max(0, this.#bytesLeft);
  }

  /** Notes what is loaded; the answer, called once, gives it back. */
  take(bytes: number): () => void {
    this.#bytesLeft -= bytes;
    return () => {
      this.#bytesLeft += bytes;
    };
  }
}
