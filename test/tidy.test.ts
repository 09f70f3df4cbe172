/**
 * The style where a machine can judge it and the linter (biome.json: default exports, enums, `any`,
 * console, process.env, file names, functions of 70 lines, `.only` and `.skip`) does not.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { describe, expect, it } from "vitest";
import {
  deadFiles,
  forbiddenArrows,
  foreignPlaces,
  importsOf,
  impureCore,
  type Manifest,
  type Source,
  strayed,
  tooLong,
  unpinned,
  wrongDependencies,
} from "./tidy-rules.ts";

const TOP = join(import.meta.dirname, "..");
const PACKAGES = readdirSync(join(TOP, "packages")).filter((name) =>
  existsSync(join(TOP, "packages", name, "package.json")),
);
/** Peers of what is imported, which have to be installed beside it. */
const UNSEEN = { "@silt/embed": ["@energetic-ai/core"] } as Readonly<Record<string, string[]>>;

function read(path: string): string {
  return readFileSync(join(TOP, path), "utf8");
}

function manifestOf(path: string): Manifest {
  return JSON.parse(read(path)) as Manifest;
}

function sourcesUnder(folder: string): readonly Source[] {
  if (!existsSync(join(TOP, folder))) return [];
  return readdirSync(join(TOP, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(TOP, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .map((path) => ({ path, code: read(path) }));
}

const SOURCES = [
  ...PACKAGES.flatMap((name) => sourcesUnder(`packages/${name}/src`)),
  ...["lambdas", "infra", "localstack", "test", "examples", ".ci"].flatMap(sourcesUnder),
];
const ENTRIES = SOURCES.map(({ path }) => path).filter((path) =>
  /^(?:packages\/[^/]+\/src\/(?:index|main)|lambdas\/[^/]+\.lambda)\.ts$/.test(path),
);

describe("the sources", () => {
  it("are found", () => {
    expect(SOURCES.length).toBeGreaterThan(100);
    expect(ENTRIES).toContain("packages/core/src/index.ts");
    expect(SOURCES.flatMap(importsOf).length).toBeGreaterThan(SOURCES.length);
  });

  it("import only along the arrows", () => {
    expect(SOURCES.flatMap(forbiddenArrows)).toEqual([]);
  });

  it("touch better-sqlite3 only in segment, reader and local", () => {
    expect(SOURCES.flatMap(strayed)).toEqual([]);
  });

  it("of core neither act nor read clock, random or environment", () => {
    expect(SOURCES.flatMap(impureCore)).toEqual([]);
  });

  it("have at most 450 lines, and comments of 120 columns", () => {
    expect(SOURCES.flatMap(tooLong)).toEqual([]);
  });

  it("are all reached from an entry", () => {
    expect(deadFiles(SOURCES, ENTRIES)).toEqual([]);
  });
});

describe("the manifests", () => {
  const folders = [...PACKAGES.map((name) => `packages/${name}`), "lambdas", "infra"];
  const manifests = folders.map((folder) => manifestOf(`${folder}/package.json`));
  const inner = manifests.filter(({ name }) => name.startsWith("@silt/"));
  const silt = manifests.find(({ name }) => name === "silt") as Manifest;

  it("list exactly what their package imports", () => {
    const wrong = inner.flatMap((manifest) => {
      const folder = `${folders[manifests.indexOf(manifest)]}/`;
      const own = SOURCES.filter(({ path }) => path.startsWith(folder));
      // A package of contract suites ships tests: vitest is there wherever it is used.
      const unlisted = manifest.name === "@silt/testkit" ? ["vitest"] : [];
      return wrongDependencies(manifest, own, UNSEEN[manifest.name] ?? []).filter(
        (line) => !unlisted.some((name) => line.endsWith(`lacks ${name}`)),
      );
    });
    expect(wrong).toEqual([]);
  });

  it("of what people install list all that the workspaces inside it need, and no workspace", () => {
    const inside = Object.keys(silt.devDependencies ?? {});
    const needed = inner.filter(({ name }) => inside.includes(name)).map((one) => one.dependencies);
    const all: Record<string, string> = Object.assign({}, ...needed);
    const outer = Object.entries(all).filter(([name]) => !name.startsWith("@silt/"));
    const own = SOURCES.filter(({ path }) => path.startsWith("packages/silt/src/"));
    const merged = { ...silt, dependencies: { ...silt.devDependencies, ...silt.dependencies } };
    // Declarations name types of dependencies, so that these are installed too.
    const inherited = outer.flatMap(([name]) => [name, `@types/${name}`]);
    expect(silt.dependencies).toMatchObject(Object.fromEntries(outer));
    expect(wrongDependencies(merged, own, inherited)).toEqual([]);
    expect(Object.keys(silt.dependencies ?? {}).filter((name) => /^@silt\//.test(name))).toEqual(
      [],
    );
  });

  it("pin one exact version of each dependency", () => {
    expect(unpinned([manifestOf("package.json"), ...manifests])).toEqual([]);
  });

  it("lock nothing to this machine or to another registry", () => {
    expect(foreignPlaces(read("package-lock.json"))).toEqual([]);
  });
});

describe("each rule catches what it forbids", () => {
  const core = (code: string): Source => ({ path: "packages/core/src/a.ts", code });

  it.each([
    [core('import { openLocalPorts } from "@silt/local";')],
    [core('export * from "../../segment/src/index.ts";')],
    [core('const kit = await import("@silt/testkit");')],
    [{ path: "packages/local/src/a.ts", code: 'import type { A } from "@silt/aws";' }],
    [{ path: "packages/aws/src/a.ts", code: 'import {\n  a,\n  b,\n} from "@silt/local";' }],
    [{ path: "packages/silt/src/a.ts", code: 'import { memoryPorts } from "@silt/testkit";' }],
  ])("arrows: %j", (source) => expect(forbiddenArrows(source)).toHaveLength(1));

  it.each([
    'import { readFileSync } from "node:fs";',
    'import { createHash, randomUUID } from "node:crypto";',
    "const now = Date.now();",
    "const now = new Date();",
    "const dice = Math.random();",
    'const home = process.env["HOME"];',
    "setTimeout(run, 5);",
  ])("core: %s", (code) => expect(impureCore(core(code))).toHaveLength(1));

  it("but no mention in a comment, and no hash", () => {
    expect(
      impureCore(core('/* Date.now() */ import { hash } from "node:crypto"; // process.')),
    ).toEqual([]);
  });

  it("SQLite, length and dead files", () => {
    expect(strayed(core('import Database from "better-sqlite3";'))).toHaveLength(1);
    expect(tooLong(core("\n".repeat(451)))).toHaveLength(1);
    expect(tooLong(core(`// ${"x".repeat(120)}`))).toHaveLength(1);
    const sources = [
      core('import "./b.ts"; new URL(`./c-worker.$' + "{extension}`, import.meta.url);"),
      ...["b", "c-worker", "dead", "d"].map((name) => ({
        path: `packages/core/src/${name}.ts`,
        code: "",
      })),
      { path: "packages/core/src/d.test.ts", code: 'import "./d.ts";' },
    ];
    expect(deadFiles(sources, ["packages/core/src/a.ts"])).toEqual([
      "packages/core/src/dead.ts: nothing that ships imports it",
      "packages/core/src/d.ts: nothing that ships imports it",
    ]);
  });

  it("dependencies and lockfiles", () => {
    const manifest = { name: "@silt/core", dependencies: { zod: "4.6.7", tar: "^7.0.0" } };
    expect(wrongDependencies(manifest, [core('import "chokidar/x"; import "zod";')], [])).toEqual([
      "@silt/core: lacks chokidar",
      "@silt/core: lists tar, which it doesn't import",
    ]);
    expect(unpinned([manifest, { name: "b", dependencies: { zod: "4.6.8" } }])).toHaveLength(2);
    expect(foreignPlaces('"resolved": "https://mirror.example/zod.tgz"')).toHaveLength(1);
    expect(foreignPlaces('"resolved": "packages/core", "integrity": "sha512-/tmp/"')).toEqual([]);
    expect(foreignPlaces('"version": "file:../zod"')).toHaveLength(1);
  });
});
