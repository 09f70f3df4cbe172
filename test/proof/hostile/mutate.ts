/** Seeded changes of bytes, texts and JSON, as a hostile or broken writer makes them. */
import type { SeededRandom } from "@silt/testkit";

const DEEP_MAX = 20_000;

/** Values where another one is expected; texts that somebody may run, follow or trip over. */
export function oddValue(random: SeededRandom): unknown {
  const texts = [
    "",
    "../../../canary/secret.txt",
    "/etc/passwd",
    "'); DROP TABLE rows; --",
    "\u0000",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "\ufffd",
    "__proto__",
    "constructor",
    "\u001b[2J",
    "x".repeat(2_000),
    "\u{1f600}".repeat(300),
    "1e999",
    "0-of-1",
  ];
  const numbers = [0, -0, -1, 0.5, 1e-320, 1e21, 2 ** 53, -(2 ** 63), 1e308, 3.5e38, 7];
  const others = [null, true, false, [], {}, [null], [[1]], { a: { b: 1 } }, { length: 2 }];
  const dice = random.int(10);
  if (dice < 4) return random.pick(texts);
  if (dice < 7) return random.pick(numbers);
  if (dice < 9) return random.pick(others);
  return nested(random.int(200));
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = level % 2 ? [value] : { a: value };
  return value;
}

/** A copy with one thing changed, removed, renamed or added somewhere. */
export function mutateJson(random: SeededRandom, value: unknown): unknown {
  const isLeaf = value === null || typeof value !== "object";
  if (isLeaf || random.chance(0.1)) return oddValue(random);
  if (Array.isArray(value)) return mutateList(random, value);
  const entries = Object.entries(value);
  const at = random.int(entries.length + 1);
  const entry = entries[at];
  const dice = random.fraction();
  if (entry === undefined || dice < 0.1) entries.push([oddKey(random), oddValue(random)]);
  else if (dice < 0.2) entries.splice(at, 1);
  else if (dice < 0.25) entries[at] = [oddKey(random), entry[1]];
  else entries[at] = [entry[0], mutateJson(random, entry[1])];
  return Object.fromEntries(entries);
}

function mutateList(random: SeededRandom, list: readonly unknown[]): unknown[] {
  const copy = [...list];
  const at = random.int(copy.length + 1);
  const dice = random.fraction();
  if (at === copy.length || dice < 0.2) copy.push(oddValue(random));
  else if (dice < 0.4) copy.splice(at, 1);
  else if (dice < 0.5) copy.push(...copy);
  else copy[at] = mutateJson(random, copy[at]);
  return copy;
}

function oddKey(random: SeededRandom): string {
  return random.pick(["__proto__", "constructor", "toString", "id", "", "\ud800", "$and", "zz"]);
}

/** A text as it comes, or with something in it that its reader must notice. */
export function mutateText(random: SeededRandom, text: string): string {
  const at = random.int(text.length + 1);
  const odd = random.pick([
    "\u0000",
    "\ufeff",
    " ",
    "\n",
    "\r",
    '"',
    "\\",
    "{",
    "]",
    ",",
    "\\ud800",
    "e9999",
  ]);
  switch (random.int(7)) {
    case 0:
      return text.slice(0, at);
    case 5:
      // Deeper than JSON.stringify() itself could write it.
      return text.replace(/:[^,{[]+/, `:${"[".repeat(DEEP_MAX)}${"]".repeat(DEEP_MAX)}`);
    case 1:
      return text.slice(0, at) + odd + text.slice(at);
    case 2:
      return odd + text;
    case 3:
      return text.replace(/"(\w+)":/, '"$1":0,"$1":');
    case 4:
      return text.replace(/^\{/, '{"__proto__":{"id":"evil"},');
    default:
      return text + odd;
  }
}

/** Some bytes flipped, zeroed, copied, cut or added. Lengths may change. */
export function mutateBytes(random: SeededRandom, bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  const at = random.int(Math.max(1, copy.length));
  switch (random.int(7)) {
    case 0:
      return copy.subarray(0, at);
    case 1:
      return Buffer.concat([copy, Buffer.from(random.bytes(1 + random.int(2_000)))]);
    case 2:
      return Buffer.concat([
        copy.subarray(0, at),
        Buffer.from(random.bytes(random.int(600))),
        copy.subarray(at),
      ]);
    case 3:
      return copy.fill(random.pick([0, 0xff]), at, Math.min(copy.length, at + random.int(5_000)));
    case 4:
      copy.copy(copy, at, random.int(copy.length), random.int(copy.length));
      return copy;
    default:
      for (let left = 1 + random.int(8); left > 0; left--) {
        const index = random.int(copy.length);
        copy[index] = (copy[index] ?? 0) ^ (1 << random.int(8));
      }
      return copy;
  }
}
