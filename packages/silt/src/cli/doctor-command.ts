import type { Command } from "commander";
import type { HealthReport } from "../health/health-report.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CommandRun } from "./command-run.ts";
import { parseDuration } from "./option-values.ts";
import type { Define } from "./program.ts";

export function defineDoctor(program: Command, define: Define): void {
  const command = program
    .command("doctor")
    .description("health on one page; exit code 3 when something needs a person")
    .option(
      "--stuck-after <duration>",
      "runs that wait longer are stuck; default 1h",
      parseDuration,
    );
  define<{ stuckAfter?: number }>(
    command,
    ["silt doctor", "silt doctor --json"],
    async (run, _args, { stuckAfter }) => {
      const store = await run.store();
      const report = await store.doctor({ stuckAfterMs: stuckAfter, signal: run.signal });
      run.terminal.json(report);
      printHealth(run, report);
      return report.ok ? undefined : 3;
    },
  );
}

function printHealth({ terminal }: CommandRun, { ok, checks }: HealthReport): void {
  const { paint } = terminal;
  const paints = { ok: paint.green, notice: paint.yellow, problem: paint.red };
  for (const { name, state, message, remedy } of checks) {
    terminal.print(`${paints[state](state.padEnd(7))} ${plainText(`${name}: ${message}`)}`);
    if (remedy !== null) terminal.print(`        ${paint.cyan("do")} ${plainText(remedy)}`);
  }
  const needing = checks.filter(({ state }) => state === "problem").length;
  terminal.print(ok ? "nothing needs a person" : `${needing} of these need a person`);
}
