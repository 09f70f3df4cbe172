import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { build, type Metafile } from "esbuild";
import { EXTERNAL_PACKAGES, type ExternalPackage } from "./external-packages.ts";

/** A handler as JavaScript: files by name, and what they expect in `node_modules` beside them. */
export interface CompiledFunction {
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly packages: readonly ExternalPackage[];
  /** Own files that it was made of, from the top. */
  readonly sources: readonly string[];
}

/** Lambda calls `index.handler`. */
const HANDLER_NAME = "index";
/** Workers that a module starts by a URL of its own: they must lie beside it, with their names. */
const BESIDE = /new URL\(\s*["'`]\.\/([a-z0-9-]+)\.[^"'`]*["'`],\s*import\.meta\.url\s*\)/g;
/** Dependencies in CommonJS call `require`, which modules don't have. */
const BANNER =
  'import { createRequire as requireOfModule } from "node:module"; const require = requireOfModule(import.meta.url);';

const compile = (entries: Readonly<Record<string, string>>, top: string) =>
  build({
    absWorkingDir: top,
    entryPoints: Object.entries(entries).map(([name, path]) => ({ in: path, out: name })),
    outdir: join(top, ".cache", "compiled"),
    write: false,
    metafile: true,
    bundle: true,
    // What is imported lazily stays in files of its own, or models would load at every cold start.
    splitting: true,
    chunkNames: "chunk-[hash]",
    format: "esm",
    platform: "node",
    target: "node24",
    mainFields: ["module", "main"],
    external: Object.keys(EXTERNAL_PACKAGES),
    banner: { js: BANNER },
    // Identifiers keep their names: stack traces can be read, and the text of functions is run.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    logLevel: "silent",
  });

const ownSources = ({ inputs }: Metafile) =>
  Object.keys(inputs).filter((path) => !path.includes("node_modules/"));

function workersOf(metafile: Metafile, top: string): Readonly<Record<string, string>> {
  const started = ownSources(metafile).flatMap((path) =>
    [...readFileSync(join(top, path), "utf8").matchAll(BESIDE)].map(([, name = ""]) => [
      name,
      `${dirname(path)}/${name}.ts`,
    ]),
  );
  return Object.fromEntries(started);
}

function packagesOf({ outputs }: Metafile): readonly ExternalPackage[] {
  const imported = Object.values(outputs).flatMap(({ imports }) =>
    imports.filter(({ external }) => external === true).map(({ path }) => path),
  );
  const named = Object.keys(EXTERNAL_PACKAGES) as ExternalPackage[];
  return named.filter((name) =>
    imported.some((path) => path === name || path.startsWith(`${name}/`)),
  );
}

/** Compiles a handler and the workers that it can start. `entry` is a path from the top. */
export async function compileFunction(entry: string, top: string): Promise<CompiledFunction> {
  const alone = await compile({ [HANDLER_NAME]: entry }, top);
  const workers = workersOf(alone.metafile, top);
  const whole =
    Object.keys(workers).length === 0
      ? alone
      : await compile({ [HANDLER_NAME]: entry, ...workers }, top);
  return {
    files: new Map(whole.outputFiles.map(({ path, contents }) => [basename(path), contents])),
    packages: packagesOf(whole.metafile),
    sources: ownSources(whole.metafile),
  };
}
