/** What people install: packed, put into an empty project, used as a command and as a library. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const TOP = join(import.meta.dirname, "..", "..");
const CONSUMER = `import { type Collection, isSiltError, openStore, type QueryAnswer } from "silt";

await using store = await openStore("./library-store", { cacheFolder: "./cache" });
const lines: Collection = await store.collection("lines", { dimension: 2, metric: "cosine" });
await lines.put([
  { id: "a#1", parent: "a", document: "two coffees", embedding: [1, 0], metadata: { total: 5 } },
  { id: "b#1", parent: "b", document: "night train", embedding: [0, 1] },
]);
const [report] = await store.compact();
const answer: QueryAnswer = await lines.query({ vector: [1, 0.1], k: 1 });
const { ok } = await store.verify();
const kind = await lines.put([{ id: "c", embedding: [0, 0] }]).catch((error: unknown) =>
  isSiltError(error) ? error.kind : undefined,
);
// @ts-expect-error A record has an id.
void (() => lines.put([{ document: "no id" }]));
const found = answer.results.map(({ id }) => id);
process.stdout.write(JSON.stringify({ found, version: report?.version, ok, kind }));
`;
/** This Node, not an older one of the machine, is what `#!/usr/bin/env node` has to find. */
const env = {
  ...process.env,
  PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`,
  NO_COLOR: "1",
};

describe("the packed package in an empty project", () => {
  let folder: string;
  let project: string;

  function npm(args: readonly string[], cwd: string): string {
    return execFileSync("npm", args, {
      cwd,
      env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  function silt(args: readonly string[], input = "") {
    const command = join(project, "node_modules", ".bin", "silt");
    const { status, stdout, stderr } = spawnSync(command, args, {
      cwd: project,
      env,
      input,
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  }

  function siltJson(args: readonly string[], input = "") {
    const { status, stdout, stderr } = silt([...args, "--json"], input);
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) });
    return JSON.parse(stdout);
  }

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "silt-package-"));
    npm(["pack", "--workspace", "silt", "--pack-destination", folder], TOP);
    const [tarball = ""] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
    project = mkdtempSync(join(folder, "project-"));
    writeFileSync(join(project, "package.json"), `{"name":"consumer","type":"module"}`);
    const nodeTypes = JSON.parse(readFileSync(join(TOP, "package.json"), "utf8"));
    const types = `@types/node@${nodeTypes.devDependencies["@types/node"]}`;
    const quick = ["--prefer-offline", "--no-audit", "--no-fund"];
    npm(["install", ...quick, join(folder, tarball), types], project);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("holds everything that runs and nothing of the workspace", () => {
    const root = join(project, "node_modules", "silt");
    const files = readdirSync(root, { recursive: true }) as string[];
    expect(files).toEqual(
      expect.arrayContaining([
        "LICENSE",
        "package.json",
        "bin/silt.js",
        "dist/main.js",
        "examples/README.md",
      ]),
    );
    expect(files.filter((file) => /\.(test|fixture)\./.test(file))).toEqual([]);
    expect(files.filter((file) => /(?<!\.d)\.ts$/.test(file))).toEqual([]);
    for (const file of files.filter((name) => /\.(js|d\.ts)$/.test(name))) {
      const code = readFileSync(join(root, file), "utf8");
      expect(code, file).not.toMatch(/(?:from|import)\s*\(?\s*["'](?:@silt\/|\.[^"']*\.ts["'])/);
    }
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    expect(Object.keys(dependencies).filter((name) => name.startsWith("@silt/"))).toEqual([]);
  });

  it("compiles nothing and leaves the old tree of @xenova/transformers out", () => {
    const installed = readdirSync(join(project, "node_modules"));
    expect(installed).not.toContain("@xenova");
    expect(readdirSync(join(project, "node_modules", "better-sqlite3"))).not.toContain("build");
  });

  it("gives a command that says its version", () => {
    const { version } = JSON.parse(
      readFileSync(join(TOP, "packages", "silt", "package.json"), "utf8"),
    );
    expect(npm(["exec", "--no", "--", "silt", "--version"], project).trim()).toBe(version);
  });

  it("stores, compacts in its worker, verifies and finds by text, from the command line", () => {
    const records = [
      { id: "a#1", parent: "a", document: "two coffees and a slice of cake" },
      { id: "b#1", parent: "b", document: "departure of the night train" },
    ];
    siltJson(["init", "lines", "--dimension", "512", "--embedder", "use-lite"]);
    const put = siltJson(
      ["put", "lines"],
      records.map((record) => JSON.stringify(record)).join("\n"),
    );
    expect(put.acknowledged).toBe(2);
    expect(siltJson(["compact"]).shards).toMatchObject([{ outcome: "flipped", version: 1 }]);
    expect(siltJson(["verify"]).ok).toBe(true);
    const found = siltJson(["query", "lines", "espresso", "-k", "1"]);
    expect(found.results).toMatchObject([{ id: "a#1" }]);
  });

  it("tells its own demo with the pictures that it carries", () => {
    const { status, stderr } = silt(["demo"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) });
  });

  it("gives a typed library that a strict consumer compiles and runs", () => {
    writeFileSync(join(project, "consumer.ts"), CONSUMER);
    const compilerOptions = {
      strict: true,
      noEmit: true,
      target: "esnext",
      module: "nodenext",
      types: ["node"],
    };
    writeFileSync(
      join(project, "tsconfig.json"),
      JSON.stringify({ compilerOptions, files: ["consumer.ts"] }),
    );
    const tsc = join(TOP, "node_modules", "typescript", "bin", "tsc");
    const compiled = spawnSync(process.execPath, [tsc, "-p", project], { encoding: "utf8" });
    expect(compiled.stdout).toBe("");
    expect(compiled.status).toBe(0);
    const ran = spawnSync(process.execPath, ["consumer.ts"], {
      cwd: project,
      encoding: "utf8",
      env,
    });
    expect(ran.stderr).toBe("");
    expect(JSON.parse(ran.stdout)).toEqual({
      found: ["a#1"],
      version: 1,
      ok: true,
      kind: "invalid",
    });
  });
});
