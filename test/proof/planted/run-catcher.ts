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

/** `soundRoot`: the sources as they are, where what was found must not be found. */
export async function runCatcher(
  catcher: Catcher,
  root: string,
  soundRoot: string,
): Promise<Caught> {
  const startMs = performance.now();
  if (catcher.by === "simulator") {
    const caught = await runSimulator(root, soundRoot);
    return { ...caught, seconds: Math.round((performance.now() - startMs) / 100) / 10 };
  }
  const { args, judge } = commandOf(catcher);
  const ended = await run(args, root);
  const seconds = Math.round((performance.now() - startMs) / 100) / 10;
  return { ...judge(ended), seconds };
}

function commandOf(catcher: Exclude<Catcher, { by: "simulator" }>): {
  readonly args: readonly string[];
  readonly judge: (ended: Ended) => Omit<Caught, "seconds">;
} {
  switch (catcher.by) {
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
          took: code === 1 ? `at most ${catcher.kills} kills` : lastLine(output),
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

interface Report {
  readonly schedules: number;
  readonly failures: readonly { readonly seed: number; readonly message?: string }[];
}

/** Schedules from seed 1 on, until one is broken that is not without the bug. */
async function runSimulator(root: string, soundRoot: string): Promise<Omit<Caught, "seconds">> {
  for (let from = 1; from <= SCHEDULES_MAX; ) {
    const { code, output } = await simulate(root, from, SCHEDULES_MAX);
    const [failure] = code === 0 ? [] : failuresIn(output);
    if (failure === undefined) {
      if (code === 0) return { caught: false, took: `${SCHEDULES_MAX} schedules` };
      return { caught: false, took: `it ended with ${code}: ${lastLine(output)}` };
    }
    const { seed } = failure;
    if ((await simulate(soundRoot, seed, seed)).code === 0) {
      return {
        caught: true,
        took: `${seed} schedules: ${plain(failure.message ?? "").slice(0, 120)}`,
      };
    }
    from = seed + 1;
  }
  return { caught: false, took: `${SCHEDULES_MAX} schedules` };
}

function simulate(root: string, from: number, to: number): Promise<Ended> {
  const seeds = ["--seeds", `${from}..${to}`, "--no-shrink", "--json"];
  return run(["test/proof/simulation/main.ts", ...seeds], root);
}

/** Processes take seeds by turns: the first in order is what it took. */
function failuresIn(output: string): Report["failures"] {
  const line = output.split("\n").find((one) => one.startsWith("{")) ?? '{"failures":[]}';
  const { failures } = JSON.parse(line) as Report;
  return [...failures].sort((a, b) => a.seed - b.seed);
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
