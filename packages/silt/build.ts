/**
 * Builds what people install: Node strips types only outside `node_modules`, so that a package has
 * to hold .js. Steps:
 * 1. tsc emits .js and .d.ts of everything that the command, the library and the workers reach;
 * 2. this package's modules go to `dist/`, those of the private workspaces to `dist/@silt/<name>/`,
 *    so that `../package.json` and a worker beside its starter are found as in the sources;
 * 3. `@silt/<name>` becomes a relative path, and `.ts` in declarations becomes `.js`;
 * 4. the old `dist/` is replaced, now that the new one is whole;
 * 5. the pictures of `silt demo`, README and licence are copied from the top (git ignores them here).
 */
import { spawnSync } from "node:child_process";
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
import { createRequire } from "node:module";
import { dirname, join, relative, sep } from "node:path";

const PACKAGE = import.meta.dirname;
const TOP = join(PACKAGE, "..", "..");
const DIST = join(PACKAGE, "dist");
const WORKSPACE_SPECIFIER = /(["'])@silt\/([a-z]+)\1/g;
const TS_SPECIFIER = /((?:from|import)\s*\(?\s*["']\.[^"']*)\.ts(["'])/g;

/** `silt/src/a/b.js` goes to `a/b.js`, `core/src/a.js` to `@silt/core/a.js`. */
function placeOf(emitted: string): string {
  const [name = "", source, ...rest] = emitted.split(sep);
  if (source !== "src") throw new Error(`Cannot build "${emitted}": expected <package>/src/`);
  return name === "silt" ? join(...rest) : join("@silt", name, ...rest);
}

function rewrite(code: string, place: string, isDeclaration: boolean): string {
  const linked = code.replace(WORKSPACE_SPECIFIER, (_, quote: string, name: string) => {
    const path = relative(dirname(place), join("@silt", name, "index.js"))
      .split(sep)
      .join("/");
    return quote + (path.startsWith(".") ? path : `./${path}`) + quote;
  });
  return isDeclaration ? linked.replace(TS_SPECIFIER, "$1.js$2") : linked;
}

function compile(out: string): void {
  const require = createRequire(import.meta.url);
  const tsc = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
  const config = join(PACKAGE, "tsconfig.build.json");
  const args = [tsc, "-p", config, "--outDir", out];
  const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
  if (status !== 0) throw new Error("Cannot build: the compiler found the errors above");
}

function arrange(emitted: string, out: string): void {
  const entries = readdirSync(emitted, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((file) => file.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const place = placeOf(relative(emitted, path));
    mkdirSync(dirname(join(out, place)), { recursive: true });
    const code = readFileSync(path, "utf8");
    writeFileSync(join(out, place), rewrite(code, place, place.endsWith(".d.ts")));
  }
}

function copyCompanions(): void {
  for (const name of ["README.md", "LICENSE", "examples/README.md", "examples/images"]) {
    rmSync(join(PACKAGE, name), { recursive: true, force: true });
    if (existsSync(join(TOP, name)))
      cpSync(join(TOP, name), join(PACKAGE, name), { recursive: true });
  }
}

const staging = mkdtempSync(join(PACKAGE, ".build-"));
try {
  const out = join(staging, "dist");
  compile(join(staging, "emitted"));
  arrange(join(staging, "emitted"), out);
  rmSync(DIST, { recursive: true, force: true });
  renameSync(out, DIST);
  copyCompanions();
} finally {
  rmSync(staging, { recursive: true, force: true });
}
