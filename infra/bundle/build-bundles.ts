/**
 * Bundles of all functions, in `.cache/bundles`. The handlers are compiled every time, which takes a
 * second; a folder is made only when what was compiled, or what it needs, has changed.
 */
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { FUNCTION_NAMES, type FunctionName } from "../silt-function.ts";
import { type CompiledFunction, compileFunction } from "./compile-function.ts";
import { OPTIONAL_PACKAGE, withCompanions } from "./external-packages.ts";
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

const TOP = join(import.meta.dirname, "..", "..");
const KEY_CHARS = 16;

const keyOf = (...parts: readonly (string | Uint8Array)[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex").slice(0, KEY_CHARS);
};

/** The architecture of this machine, for functions that run on it. */
export function hostArchitecture(): Architecture {
  return process.arch === "arm64" ? "arm64" : "x86_64";
}

/** Fills a folder by `fill`, or finds it filled. A process that dies leaves nothing half done. */
async function cached(
  cache: string,
  name: string,
  fill: (folder: string) => void | Promise<void>,
): Promise<string> {
  const place = join(cache, name);
  if (existsSync(place)) return place;
  mkdirSync(cache, { recursive: true });
  const staging = mkdtempSync(join(cache, ".filling-"));
  try {
    await fill(staging);
    renameSync(staging, place);
  } catch (error) {
    // Another process may have been faster: then its folder is as good.
    if (!existsSync(place)) throw error;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return place;
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
        cached(cache, `packages-${architecture}-${key}`, async (folder) => {
          await installPackages(folder, wanted, architecture);
          prunePackages(join(folder, "node_modules"), architecture);
        });
      started.set(key, running);
      return running;
    };
    return { key, open };
  };
}

function packageNames({ packages }: CompiledFunction, xenova: boolean): readonly string[] {
  return withCompanions(packages.filter((name) => xenova || name !== OPTIONAL_PACKAGE));
}

/** Compiles and bundles every function; answers their folders. */
export async function buildBundles(
  options: BundleOptions,
): Promise<Readonly<Record<FunctionName, string>>> {
  const top = options.top ?? TOP;
  const whole = { top, cache: join(top, ".cache", "bundles"), ...options };
  const packagesFor = packageFolders(whole);
  const bundle = async (name: FunctionName): Promise<readonly [FunctionName, string]> => {
    const compiled = await compileFunction(`lambdas/${name}.lambda.ts`, top);
    const names = packageNames(compiled, whole.xenova);
    const packages = names.length === 0 ? undefined : packagesFor(names);
    const code = [...compiled.files].sort(([a], [b]) => (a < b ? -1 : 1)).flat();
    const place = `${name}-${whole.architecture}-${keyOf(...code, packages?.key ?? "")}`;
    const folder = await cached(whole.cache, place, async (staging) => {
      for (const [file, contents] of compiled.files) writeFileSync(join(staging, file), contents);
      writeFileSync(join(staging, "package.json"), JSON.stringify({ name, type: "module" }));
      if (packages === undefined) return;
      const installed = join(await packages.open(), "node_modules");
      cpSync(installed, join(staging, "node_modules"), { recursive: true });
    });
    removeOlder(whole.cache, `${name}-${whole.architecture}-`, place);
    return [name, folder];
  };
  const bundled = await Promise.all(FUNCTION_NAMES.map(bundle));
  return Object.fromEntries(bundled) as Record<FunctionName, string>;
}

/** One bundle of a function is enough; each takes up to 150 MB. */
function removeOlder(cache: string, prefix: string, current: string): void {
  for (const name of readdirSync(cache)) {
    if (name.startsWith(prefix) && name !== current) {
      rmSync(join(cache, name), { recursive: true, force: true });
    }
  }
}
