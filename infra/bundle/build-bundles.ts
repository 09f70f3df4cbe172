/**
 * Bundles of all functions, in `.cache/bundles`:
 *  1. a note of the last bundle tells what it was made of; nothing changed: done
 *  2. the handler and its workers are compiled; what they need and can't hold is installed for the
 *     function's machine, once for all functions that need the same
 *  3. both go into a folder that is named after its contents
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { FUNCTION_NAMES, type FunctionName } from "../silt-function.ts";
import { cachedFolder, keyOf } from "./cached-folder.ts";
import { type CompiledFunction, compileFunction } from "./compile-function.ts";
import { NEVER_USED, OPTIONAL_PACKAGE, withCompanions } from "./external-packages.ts";
import { type Architecture, installation, installPackages } from "./install-packages.ts";
import { prunePackages } from "./prune-packages.ts";

export interface BundleOptions {
  readonly architecture: Architecture;
  /** Installs @xenova/transformers where it can be asked for. */
  readonly xenova: boolean;
  /** The repository; default: this one. */
  readonly top?: string;
  /** Default `.cache/bundles` of the repository. */
  readonly cache?: string;
}

/** What a bundle was made of, by path from the top, and where it is. */
interface BundleNote {
  readonly sources: Readonly<Record<string, string>>;
  readonly place: string;
}

const TOP = join(import.meta.dirname, "..", "..");

/** The architecture of this machine, for functions that run on it. */
export function hostArchitecture(): Architecture {
  return process.arch === "arm64" ? "arm64" : "x86_64";
}

/** Bundles every function, unless that was done; answers their folders. */
export async function buildBundles(
  options: BundleOptions,
): Promise<Readonly<Record<FunctionName, string>>> {
  const top = options.top ?? TOP;
  const whole = { top, cache: join(top, ".cache", "bundles"), ...options };
  mkdirSync(whole.cache, { recursive: true });
  const packagesFor = packageFolders(whole);
  const bundled = await Promise.all(
    FUNCTION_NAMES.map(async (name) => [name, await bundle(name, whole, packagesFor)] as const),
  );
  return Object.fromEntries(bundled) as Record<FunctionName, string>;
}

async function bundle(
  name: FunctionName,
  options: Required<BundleOptions>,
  packagesFor: ReturnType<typeof packageFolders>,
): Promise<string> {
  const { architecture, xenova, top, cache } = options;
  const kind = `${name}-${architecture}${xenova ? "-xenova" : ""}`;
  const noted = readNote(join(cache, `${kind}.json`), top);
  if (noted !== undefined) return join(cache, noted);
  const startedAtMs = Date.now();
  const compiled = await compileFunction(`lambdas/${name}.lambda.ts`, top);
  const names = packageNames(name, compiled, xenova);
  const packages = names.length === 0 ? undefined : packagesFor(names);
  const code = [...compiled.files].sort(([a], [b]) => (a < b ? -1 : 1)).flat();
  const place = `${kind}-${keyOf(...code, packages?.key ?? "")}`;
  const folder = await cachedFolder(cache, place, async (staging) => {
    for (const [file, contents] of compiled.files) writeFileSync(join(staging, file), contents);
    writeFileSync(join(staging, "package.json"), JSON.stringify({ name, type: "module" }));
    if (packages === undefined) return;
    const installed = join(await packages.open(), "node_modules");
    cpSync(installed, join(staging, "node_modules"), { recursive: true });
  });
  const paths = [...frame(), ...compiled.sources];
  // What changed while it was compiled may be in the bundle or not: then no note is taken.
  if (paths.every((path) => (statOf(path, top)?.mtimeMs ?? 0) < startedAtMs)) {
    writeNote(join(cache, `${kind}.json`), paths, place, top);
  }
  removeOlder(cache, `${kind}-`, place);
  return folder;
}

/** Installs each set of packages once, also when several functions ask for it at a time. */
function packageFolders(options: Required<BundleOptions>) {
  const { architecture, top, cache } = options;
  const rules = readFileSync(join(import.meta.dirname, "prune-packages.ts"));
  const started = new Map<string, Promise<string>>();
  return (names: readonly string[]): { readonly key: string; open(): Promise<string> } => {
    const wanted = installation(names, top);
    const key = keyOf(architecture, wanted.lock, rules);
    const open = () => {
      const running =
        started.get(key) ??
        cachedFolder(cache, `packages-${architecture}-${key}`, async (folder) => {
          await installPackages(folder, wanted, architecture);
          prunePackages(join(folder, "node_modules"), architecture);
        });
      started.set(key, running);
      return running;
    };
    return { key, open };
  };
}

function packageNames(name: FunctionName, { packages }: CompiledFunction, xenova: boolean) {
  const used = packages.filter((each) => !NEVER_USED[name].includes(each));
  return withCompanions(used.filter((each) => xenova || each !== OPTIONAL_PACKAGE));
}

/** Everything that decides over a bundle beside its sources. */
function frame(): readonly string[] {
  const own = readdirSync(import.meta.dirname).map((file) => `infra/bundle/${file}`);
  return ["package-lock.json", ...own];
}

const fullPath = (path: string, top: string) =>
  join(path.startsWith("infra/bundle/") ? TOP : top, path);

const statOf = (path: string, top: string) =>
  statSync(fullPath(path, top), { throwIfNoEntry: false });

function hashOf(path: string, top: string): string {
  return statOf(path, top) === undefined ? "" : keyOf(readFileSync(fullPath(path, top)));
}

function writeNote(file: string, paths: readonly string[], place: string, top: string): void {
  const sources = Object.fromEntries(paths.map((path) => [path, hashOf(path, top)]));
  const note: BundleNote = { sources, place };
  const staging = `${file}.${process.pid}`;
  writeFileSync(staging, JSON.stringify(note));
  renameSync(staging, file);
}

/** The bundle's name, if it is there and all that it was made of is as it was. */
function readNote(file: string, top: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const { sources, place } = JSON.parse(readFileSync(file, "utf8")) as BundleNote;
  const isSame = Object.entries(sources).every(([path, hash]) => hashOf(path, top) === hash);
  const isWhole = frame().every((path) => sources[path] !== undefined);
  return isSame && isWhole && existsSync(join(file, "..", place)) ? place : undefined;
}

/** One bundle of a kind is enough; each takes up to 76 MB, with models of @xenova/transformers more. */
function removeOlder(cache: string, prefix: string, current: string): void {
  for (const name of readdirSync(cache)) {
    const rest = name.slice(prefix.length);
    if (name.startsWith(prefix) && !rest.includes("-") && name !== current) {
      rmSync(join(cache, name), { recursive: true, force: true });
    }
  }
}
