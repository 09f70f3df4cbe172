/** Every damage of one file. */
import { chmodSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { SeededRandom } from "@silt/testkit";
import type { DamageCase } from "./damage-case.ts";
import { replaceFile } from "./damage-world.ts";
import { type FileForm, structuresOf } from "./file-structures.ts";

/** Structures of the same name that are aimed at: each page has a header. */
const AIMED_MAX = 4;

/** What files are damaged through; objects of a service have no other name for the same. */
export interface DamagedPlace {
  read(path: string): Uint8Array;
  write(path: string, bytes: Uint8Array): void | Promise<void>;
  remove(path: string): void | Promise<void>;
  /** Ways to make it unreadable. */
  readonly locks: Readonly<Record<string, (path: string, bytes: Uint8Array) => void>>;
}

export const FILES: DamagedPlace = {
  read: (path) => readFileSync(path),
  write(path, bytes) {
    mkdirSync(dirname(path), { recursive: true });
    replaceFile(path, bytes);
  },
  remove: (path) => rmSync(path),
  locks: {
    "a folder in its place": (path) => {
      rmSync(path);
      mkdirSync(path);
    },
    "mode 000": (path, bytes) => {
      replaceFile(path, bytes);
      chmodSync(path, 0);
    },
  },
};

export interface DamagedFile {
  /** Where it lies, absolute. */
  readonly path: string;
  /** Default: {@link FILES}. */
  readonly place?: DamagedPlace;
  readonly form: FileForm;
  /** Other valid files of its kind, by what they are. */
  readonly others: readonly (readonly [name: string, bytes: Uint8Array])[];
  /** What it was before, where it is ever overwritten. */
  readonly older?: readonly Uint8Array[];
  /** Where a copy of it would be taken for another thing of its kind, with the name of that. */
  readonly copies?: readonly (readonly [path: string, object: string | RegExp])[];
}

export function fileCases(
  file: DamagedFile,
  random: SeededRandom,
  places: number,
): readonly DamageCase[] {
  const bytes = placeOf(file).read(file.path);
  return [
    ...randomBits(file, bytes, random, places),
    ...aimedBits(file, bytes),
    ...lengths(file, bytes),
    ...replacements(file),
    ...whole(file, bytes),
  ];
}

const placeOf = ({ place = FILES }: DamagedFile): DamagedPlace => place;

/** A case that writes other bytes in the file's place. */
const rewrite = (
  file: DamagedFile,
  damage: DamageCase["damage"],
  where: string,
  bytes: () => Uint8Array,
): DamageCase => ({ damage, where, apply: () => placeOf(file).write(file.path, bytes()) });

function flipped(bytes: Uint8Array, at: number, bit: number): Uint8Array {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] as number) ^ (1 << bit);
  return copy;
}

function randomBits(
  file: DamagedFile,
  bytes: Uint8Array,
  random: SeededRandom,
  places: number,
): readonly DamageCase[] {
  return Array.from({ length: places }, () => {
    const [at, bit] = [random.int(bytes.length), random.int(8)];
    return rewrite(file, "one bit, anywhere", `byte ${at}, bit ${bit}`, () =>
      flipped(bytes, at, bit),
    );
  });
}

/** In each structure, twice at most of the same name: one flip to another value, one of the highest bit. */
function aimedBits(file: DamagedFile, bytes: Uint8Array): readonly DamageCase[] {
  const { places } = structuresOf(file.form, bytes);
  const seen = new Map<string, number>();
  return places
    .filter(([, at]) => at >= 0 && at < bytes.length)
    .flatMap(([structure, at]) => {
      const before = seen.get(structure) ?? 0;
      seen.set(structure, before + 1);
      if (before >= AIMED_MAX) return [];
      const bit = before % 2 === 0 ? 0 : 7;
      const where = `${structure} (byte ${at}, bit ${bit})`;
      return [rewrite(file, "one bit, aimed", where, () => flipped(bytes, at, bit))];
    });
}

function lengths(file: DamagedFile, bytes: Uint8Array): readonly DamageCase[] {
  const { cuts, pages } = structuresOf(file.form, bytes);
  const grown: readonly (readonly [string, Uint8Array])[] = [
    ["a byte", Buffer.from("x")],
    ["a zero byte", Buffer.alloc(1)],
    ["a page of zeros", Buffer.alloc(16 * 1024)],
    ["itself", bytes],
  ];
  return [
    ...cuts
      .filter(([, length]) => length < bytes.length)
      .map(([boundary, length]) =>
        rewrite(file, "cut", `${boundary}: ${length} bytes`, () => bytes.subarray(0, length)),
      ),
    ...grown.map(([what, more]) =>
      rewrite(file, "grown", what, () => Buffer.concat([bytes, more])),
    ),
    ...pages
      .filter(([, from, to]) => bytes.subarray(from, to).some((byte) => byte !== 0))
      .map(([page, from, to]) =>
        rewrite(file, "zeroed page", `${page}: ${from} to ${to}`, () =>
          Buffer.from(bytes).fill(0, from, to),
        ),
      ),
  ];
}

function replacements(file: DamagedFile): readonly DamageCase[] {
  const { older = [], others } = file;
  return [
    ...others.map(([name, bytes]) => rewrite(file, "another of its kind", name, () => bytes)),
    ...older.map((bytes, index) =>
      rewrite(file, "older version", `state ${index + 1}`, () => bytes),
    ),
  ];
}

function whole(file: DamagedFile, bytes: Uint8Array): readonly DamageCase[] {
  const { path, copies = [] } = file;
  const place = placeOf(file);
  return [
    { damage: "gone", where: "removed", apply: () => place.remove(path) },
    ...copies.map(
      ([to, object]): DamageCase => ({
        damage: "twice",
        where: to.slice(-40),
        object,
        apply: () => place.write(to, bytes),
      }),
    ),
    ...Object.entries(place.locks).map(
      ([where, lock]): DamageCase => ({
        damage: "unreadable",
        where,
        apply: () => lock(path, bytes),
      }),
    ),
  ];
}
