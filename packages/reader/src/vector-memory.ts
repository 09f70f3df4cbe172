import type { LoadedVectors } from "./segment-cache.ts";

/** Vectors that a snapshot uses, until it lets go of them. */
export interface HeldVectors extends Disposable {
  readonly loaded: LoadedVectors;
}

interface Shared {
  readonly loaded: LoadedVectors;
  users: number;
}

/**
 * What the vectors of all open snapshots of a process may take together. A segment that two versions
 * share is there once. Those that find no room are read from disk for each query: slower, but alive.
 */
export class VectorMemory {
  #bytesLeft: number;
  /** Resident vectors by name; the others belong to one snapshot each. */
  readonly #shared = new Map<string, Shared>();

  /** In bytes of WebAssembly memory. Default: no limit but that of each snapshot. */
  constructor(bytesMax = Number.POSITIVE_INFINITY) {
    this.#bytesLeft = bytesMax;
  }

  get bytesLeft(): number {
    return Math.max(0, this.#bytesLeft);
  }

  /**
   * The vectors under a name, from whoever holds them, or from `load`, which is told how much they may take;
   * undefined when it has none. Nothing may be awaited between the question how much is left and the loading.
   */
  hold(
    name: string,
    bytesMax: number,
    load: (memoryBytesMax: number) => LoadedVectors | undefined,
  ): HeldVectors | undefined {
    const known = this.#shared.get(name);
    if (known !== undefined && known.loaded.block.bytes <= bytesMax) {
      known.users += 1;
      return this.#held(known.loaded, () => this.#leave(name, known));
    }
    const loaded = load(Math.min(bytesMax, this.bytesLeft));
    if (loaded === undefined) return undefined;
    this.#bytesLeft -= loaded.block.bytes;
    if (known !== undefined || loaded.block.mode !== "resident") {
      return this.#held(loaded, () => this.#giveBack(loaded));
    }
    const shared: Shared = { loaded, users: 1 };
    this.#shared.set(name, shared);
    return this.#held(loaded, () => this.#leave(name, shared));
  }

  #held(loaded: LoadedVectors, leave: () => void): HeldVectors {
    let isHeld = true;
    return {
      loaded,
      [Symbol.dispose]() {
        if (isHeld) leave();
        isHeld = false;
      },
    };
  }

  #leave(name: string, shared: Shared): void {
    shared.users -= 1;
    if (shared.users > 0) return;
    this.#shared.delete(name);
    this.#giveBack(shared.loaded);
  }

  #giveBack({ block }: LoadedVectors): void {
    this.#bytesLeft += block.bytes;
    block[Symbol.dispose]();
  }
}
