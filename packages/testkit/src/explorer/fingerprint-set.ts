import { mix } from "./world.ts";

const FULL = 0.6;

/**
 * Which states were seen, as 64 bits of hash each (two states that share them would be taken for one: at
 * ten million states a chance of some 1 in 400,000), and the least cost at which each was reached.
 */
export class FingerprintSet {
  #low = new Int32Array(1 << 16);
  #high = new Int32Array(1 << 16);
  #cost = new Uint8Array(1 << 16);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** `new` when nobody was here, `cheaper` when everybody paid more, `seen` otherwise. */
  add(low: number, high: number, cost: number): "new" | "cheaper" | "seen" {
    // Cost 0 marks an empty place.
    const paid = cost + 1;
    const at = this.#find(low, high);
    const before = this.#cost[at] as number;
    if (before === 0) {
      this.#low[at] = low;
      this.#high[at] = high;
      this.#cost[at] = paid;
      this.#size += 1;
      if (this.#size > this.#low.length * FULL) this.#grow();
      return "new";
    }
    if (paid >= before) return "seen";
    this.#cost[at] = paid;
    return "cheaper";
  }

  #find(low: number, high: number): number {
    const mask = this.#low.length - 1;
    let at = mix(low ^ Math.imul(high, 0x9e3779b1)) & mask;
    while (this.#cost[at] !== 0 && (this.#low[at] !== low || this.#high[at] !== high)) {
      at = (at + 1) & mask;
    }
    return at;
  }

  #grow(): void {
    const [low, high, cost] = [this.#low, this.#high, this.#cost];
    const size = low.length * 2;
    this.#low = new Int32Array(size);
    this.#high = new Int32Array(size);
    this.#cost = new Uint8Array(size);
    for (let from = 0; from < low.length; from++) {
      if (cost[from] === 0) continue;
      const at = this.#find(low[from] as number, high[from] as number);
      this.#low[at] = low[from] as number;
      this.#high[at] = high[from] as number;
      this.#cost[at] = cost[from] as number;
    }
  }
}
