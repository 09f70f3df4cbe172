/**
 * Runs one project of the tests: `node test/run-project.ts <main|package|aws|proof>`. V8 may abort where threads
 * come and go ("Check failed: jit_page.has_value()", nodejs/node issue 64500), which takes a test file
 * down with it. Only then, and never for a test that failed, is that file run again, said aloud.
 */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";

const ABORT = "Check failed: jit_page.has_value()";
const CRASHED_FILE = /with signal SIGTRAP during \w+ state while running test file (\S+)/g;
const FAILED_TESTS = /\b\d+ failed\b/;
const RERUNS_MAX = 3;
/** Tests that wait for a server more than they work: as many files at once, whatever the cores. */
const WORKERS: Readonly<Record<string, string>> = { aws: "4" };

interface Run {
  readonly code: number;
  readonly output: string;
}

/** Runs vitest, showing its output as it comes. */
function runTests(project: string, files: readonly string[]): Promise<Run> {
  const workers = WORKERS[project];
  const limit = workers === undefined ? [] : ["--maxWorkers", workers];
  const args = ["vitest", "run", "--project", project, ...limit, ...files];
  const env = { ...process.env, ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : {}) };
  return new Promise((resolve, reject) => {
    const child = spawn("npx", args, { env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ] as const) {
      from.on("data", (chunk: Buffer) => {
        output += chunk.toString();
        to.write(chunk);
      });
    }
    child.on("error", reject);
    child.on("close", (code) =>
      resolve({ code: code ?? 1, output: stripVTControlCharacters(output) }),
    );
  });
}

/** Takes files that will run again out of the reports that were left so far. */
function forget(files: readonly string[]): void {
  const folder = process.env.TEST_REPORTS;
  if (folder === undefined) return;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const report = JSON.parse(readFileSync(path, "utf8")) as { testResults: { name: string }[] };
    const testResults = report.testResults.filter((result) => !files.includes(result.name));
    writeFileSync(path, JSON.stringify({ ...report, testResults }));
  }
}

const [project = "main"] = process.argv.slice(2);
let run = await runTests(project, []);
for (let rerun = 1; rerun <= RERUNS_MAX && run.code !== 0; rerun++) {
  const files = [...new Set([...run.output.matchAll(CRASHED_FILE)].map((found) => found[1] ?? ""))];
  const isAbort = run.output.includes(ABORT) && files.length > 0;
  if (!isAbort || FAILED_TESTS.test(run.output)) break;
  process.stdout.write(
    `\n== V8 aborted (nodejs/node issue 64500), run again: ${files.join(" ")}\n`,
  );
  forget(files);
  run = await runTests(project, files);
}
process.exitCode = run.code;
