/** Lets a catcher loose on a tree, and says whether it found anything. */
import { spawn } from "node:child_process";
import type { Catcher } from "./bug.ts";

export const SCHEDULES_MAX = 20_000;
const TIME_MAX_MS = 20 * 60_000;

export interface Caught {
  readonly caught: boolean;
  /** What it took, or what was tried in vain. */
  readonly took: string;
  readonly seconds: number;
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

export async function runCatcher(catcher: Catcher, root: string): Promise<Caught> {
  const startMs = performance.now();
  const { args, judge } = commandOf(catcher);
  const ended = await run(args, root);
  const seconds = Math.round((performance.now() - startMs) / 100) / 10;
  return { ...judge(ended), seconds };
}

function commandOf(catcher: Catcher): {
  readonly args: readonly string[];
  readonly judge: (ended: Ended) => Omit<Caught, "seconds">;
} {
  switch (catcher.by) {
    case "simulator":
      return {
        args: [
          "test/proof/simulation/main.ts",
          ...["--seeds", `1..${SCHEDULES_MAX}`, "--no-shrink", "--json"],
        ],
        judge: judgeSimulation,
      };
    case "explorer":
      return {
        args: ["test/proof/model/main.ts", "--config", catcher.configuration, "--json"],
        judge: ({ code, output }) => ({ caught: code === 1, took: lastLine(output) }),
      };
    case "kill-test":
      return {
        args: ["test/proof/kill/main.ts", "--kills", String(catcher.kills)],
        judge: ({ code, output }) => ({
          caught: code === 1,
          took:
            code === 1 ? firstMatch(output, /lost|missing|wrong|damage|fail/i) : lastLine(output),
        }),
      };
    case "tests":
      return {
        args: [
          "node_modules/vitest/vitest.mjs",
          ...["run", "--project", catcher.project, "--bail", "1", ...catcher.files],
        ],
        judge: ({ code, output }) => ({
          // Nothing that fails to start has caught anything.
          caught: code !== 0 && /Tests .*\d+ failed/.test(output),
          took: code === 0 ? "all passed" : firstMatch(output, /[×✗] |FAIL /),
        }),
      };
  }
}

function judgeSimulation({ code, output }: Ended): Omit<Caught, "seconds"> {
  const line = output.split("\n").find((one) => one.startsWith("{"));
  if (line === undefined)
    return { caught: false, took: `it ended with ${code}: ${lastLine(output)}` };
  const report = JSON.parse(line) as {
    readonly schedules: number;
    readonly failures: readonly {
      readonly seed: number;
      readonly invariant?: string;
      readonly violation?: { readonly invariant: string };
    }[];
  };
  const [failure] = report.failures;
  if (failure === undefined) return { caught: false, took: `${report.schedules} schedules` };
  const invariant = failure.violation?.invariant ?? failure.invariant ?? "?";
  return {
    caught: true,
    took: `seed ${failure.seed}, ${invariant}, ${report.schedules} schedules`,
  };
}

const plain = (line: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours of other programs
  line.replaceAll(/\u001b\[[0-9;]*m/g, "").trim();

const lastLine = (output: string): string => plain(output.trim().split("\n").at(-1) ?? "");

const firstMatch = (output: string, pattern: RegExp): string =>
  plain(output.split("\n").find((line) => pattern.test(plain(line))) ?? lastLine(output)).slice(
    0,
    160,
  );

function run(args: readonly string[], root: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), TIME_MAX_MS);
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}
