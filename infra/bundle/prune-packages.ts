import { readdirSync, rmSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { Architecture } from "./install-packages.ts";

/** Read by people and compilers, never by a function. Licences stay. */
const PAPERS = /\.(?:md|markdown|map|ts|mts|cts|tsbuildinfo|gyp|gypi|cc|cpp|h|hpp)$/;
const PAPER_FOLDERS = /^(?:[^@/]+|@[^/]+\/[^/]+)\/(?:docs?|tests?|examples?|benchmarks?|\.github)$/;

/** What no function on Linux uses of a package; paths within `node_modules`. */
const UNUSED = [
  /^\.bin$/,
  /^\.package-lock\.json$/,
  /^node-addon-api$/,
  /^better-sqlite3\/(?:deps|src)$/,
  /^sharp\/(?:src|install)$/,
  /^@img\/[^/]+\/(?:include|lib\/glib-2\.0)$/,
  /^tesseract\.js\/(?:dist|scripts)$/,
  // Processors all have SIMD. Of a LSTM engine version 7.0.0 loads the whole core: it takes its own
  // `lstmOnly` for the number of an engine (src/worker-script/node/getCore.js); a mended one would not.
  /^tesseract\.js-core\/tesseract-core(?!-(?:relaxed)?simd(?:-lstm)?\.(?:js|wasm)$)/,
  /^@tesseract\.js-data\/eng\/(?!4\.0\.0_best_int$|package\.json$|index\.js$|LICENSE)[^/]+$/,
  // Transformers runs on the native runtime.
  /^@xenova\/transformers\/dist$/,
  /^onnxruntime-web\/(?:lib|types|dist\/(?!ort-web\.node\.js$)[^/]+)$/,
  /^onnxruntime-node\/(?:script|bin\/napi-v\d+\/(?:darwin|win32))$/,
] as const;

const NPM_CPU = { arm64: "arm64", x86_64: "x64" } as const;

function otherMachines(architecture: Architecture): readonly RegExp[] {
  const cpu = NPM_CPU[architecture];
  return [
    new RegExp(`^better-sqlite3/prebuilds/(?!linux-${cpu}\\.node$)`),
    /^better-sqlite3\/lib\/(?:darwin|win32|linuxmusl)-/,
    new RegExp(`^onnxruntime-node/bin/napi-v\\d+/linux/(?!${cpu}$)[^/]+$`),
  ];
}

/** Removes from an installed `node_modules` what the functions don't use. */
export function prunePackages(modules: string, architecture: Architecture): void {
  const unused = [...UNUSED, ...otherMachines(architecture)];
  const entries = readdirSync(modules, { recursive: true, withFileTypes: true })
    .map((entry) => ({ entry, full: join(entry.parentPath, entry.name) }))
    .map(({ entry, full }) => ({
      entry,
      full,
      path: relative(modules, full).split(sep).join("/"),
    }));
  for (const { entry, full, path } of entries) {
    const isPaper = entry.isDirectory() ? PAPER_FOLDERS.test(path) : PAPERS.test(path);
    if (isPaper || unused.some((pattern) => pattern.test(path))) {
      rmSync(full, { recursive: true, force: true });
    }
  }
}
