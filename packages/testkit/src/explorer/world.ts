/**
 * All that actors share, as one immutable map from names to values: objects, log items, the lease. Both
 * are interned, so a world is a short array of numbers, and two worlds are the same if their hashes are.
 */

/** Pairs of name and value, ascending by name; `low` and `high` are 64 bits of hash over them. */
export interface World {
  readonly entries: Int32Array;
  readonly low: number;
  readonly high: number;
}

export const EMPTY_WORLD: World = { entries: new Int32Array(0), low: 0, high: 0 };

/** Spreads all bits of a 32-bit number over all others (the mixer "triple32" of H. Prospector, public domain). */
export function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 17), 0xed5ad4bb);
  x = Math.imul(x ^ (x >>> 11), 0xac4c1b51);
  x = Math.imul(x ^ (x >>> 15), 0x31848bab);
  return x ^ (x >>> 14);
}

const lowOf = (name: number, value: number) => mix(Math.imul(name, 0x9e3779b1) ^ mix(value));
const highOf = (name: number, value: number) => mix(Math.imul(value, 0x85ebca6b) + mix(~name));

/** Where a name stands, or the complement of where it would. */
function find({ entries }: World, name: number): number {
  let from = 0;
  let to = entries.length >> 1;
  while (from < to) {
    const middle = (from + to) >> 1;
    const at = entries[middle << 1] as number;
    if (at === name) return middle << 1;
    if (at < name) from = middle + 1;
    else to = middle;
  }
  return ~(from << 1);
}

/** The value of a name; 0 = none. */
export function valueIn(world: World, name: number): number {
  const at = find(world, name);
  return at < 0 ? 0 : (world.entries[at + 1] as number);
}

/** The same world with another value of one name; 0 takes the name away. */
export function withValue(world: World, name: number, value: number): World {
  const at = find(world, name);
  const old = at < 0 ? 0 : (world.entries[at + 1] as number);
  if (old === value) return world;
  let { entries, low, high } = world;
  if (old !== 0) {
    low ^= lowOf(name, old);
    high ^= highOf(name, old);
  }
  if (value !== 0) {
    low ^= lowOf(name, value);
    high ^= highOf(name, value);
  }
  if (old !== 0 && value !== 0) {
    entries = entries.slice();
    entries[at + 1] = value;
  } else if (value === 0) {
    const shorter = new Int32Array(entries.length - 2);
    shorter.set(entries.subarray(0, at));
    shorter.set(entries.subarray(at + 2), at);
    entries = shorter;
  } else {
    const longer = new Int32Array(entries.length + 2);
    longer.set(entries.subarray(0, ~at));
    longer[~at] = name;
    longer[~at + 1] = value;
    longer.set(entries.subarray(~at), ~at + 2);
    entries = longer;
  }
  return { entries, low, high };
}

/** Numbers for names and values; 0 is none. */
export class Vocabulary {
  readonly #names = new Map<string, number>();
  readonly #nameTexts: string[] = [""];
  readonly #values = new Map<string, number>();
  readonly #valueTexts: string[] = [""];
  readonly #things: unknown[] = [undefined];

  nameId(name: string): number {
    let id = this.#names.get(name);
    if (id === undefined) {
      id = this.#nameTexts.length;
      this.#names.set(name, id);
      this.#nameTexts.push(name);
    }
    return id;
  }

  nameOf(id: number): string {
    return this.#nameTexts[id] as string;
  }

  /** `text` identifies the thing among all values. */
  valueId(text: string, thing: unknown): number {
    let id = this.#values.get(text);
    if (id === undefined) {
      id = this.#things.length;
      this.#values.set(text, id);
      this.#valueTexts.push(text);
      this.#things.push(thing);
    }
    return id;
  }

  valueOf(id: number): unknown {
    return this.#things[id];
  }

  /** A world in words that do not depend on who came first. */
  describe({ entries }: World): string {
    const lines: string[] = [];
    for (let at = 0; at < entries.length; at += 2) {
      const name = this.#nameTexts[entries[at] as number];
      lines.push(`${name} = ${this.#valueTexts[entries[at + 1] as number]}`);
    }
    return lines.sort().join("\n");
  }
}
