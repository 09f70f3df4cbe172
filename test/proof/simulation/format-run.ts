/** What a run of the simulator saw, for people. */
import type { Shrunk, SimulationResult, Totals } from "@silt/testkit";
import type { RunReport } from "./run-seeds.ts";

/** Named in the summary, in this order; the rest of the totals follows by name. */
const FIRST: readonly (readonly [key: string, name: string])[] = [
  ["flips", "flips"],
  ["merges", "merges"],
  ["takeovers", "takeovers of a lease"],
  ["compact: lost", "lost races"],
  ["unknown outcomes", "unknown outcomes"],
  ["fenced", "fences by collectors"],
  ["exclusions", "exclusions"],
  ["retried", "excluded runs brought back"],
  ["rollback: rolled-back", "rollbacks"],
  ["refused rollbacks", "refused rollbacks"],
  ["collect", "collections"],
  ["objects deleted", "objects deleted"],
  ["retired", "versions retired"],
  ["abandoned", "run ids abandoned"],
  ["crashes", "crashes"],
  ["blocked reads", "blocked reads"],
];

const line = (name: string, value: number | string) => `  ${name.padEnd(34)} ${value}\n`;

/** The summary of a range of seeds. */
export function formatRun(report: RunReport): string {
  const { schedules, steps, virtualMs, failures, totals, seconds, perSecond } = report;
  const named = new Set(FIRST.map(([key]) => key));
  const hours = Math.round(virtualMs / 3_600_000);
  return [
    `Seeds ${report.from} to ${report.to}: ${schedules} schedules, ${failures.length} violations\n`,
    line(
      "seconds",
      `${seconds.toFixed(1)} (${perSecond.toFixed(0)} schedules/s, ${report.workers} processes)`,
    ),
    line("awaits", `${steps} (shortest schedule ${report.stepsMin})`),
    line("virtual hours", hours),
    line("schedules on real SQLite", report.sqliteSeeds),
    ...FIRST.map(([key, name]) => line(name, totals[key] ?? 0)),
    ...Object.entries(totals)
      .filter(([key]) => !named.has(key))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => line(key, value)),
    ...failures.map(
      ({ seed, message, sqlite }) => `seed ${seed}${sqlite ? " (SQLite)" : ""}: ${message}\n`,
    ),
  ].join("");
}

/** One schedule, with its story if it was kept. */
export function formatSchedule(result: SimulationResult): string {
  const { seed, steps, faults, hash, violation, trace, totals } = result;
  return [
    ...trace.map((told) => `${told}\n`),
    `Seed ${seed}: ${steps} awaits, ${faults} faults, hash ${hash}\n`,
    totalsLine(totals),
    violation === undefined ? "Nothing was broken.\n" : `${violation.message}\n`,
  ].join("");
}

const totalsLine = (totals: Totals) =>
  `${Object.entries(totals)
    .map(([key, value]) => `${key} ${value}`)
    .join(", ")}\n`;

/** The smallest schedule that was found to fail the same way. */
export function formatShrunk({ cuts, result, tried }: Shrunk): string {
  const again = `npm run simulate -- --seed ${result.seed} --trace --cuts '${JSON.stringify(compactCuts(cuts))}'`;
  return `\nSmallest of ${tried} schedules that break the same:\n${formatSchedule(result)}\n${again}\n`;
}

/** Empty parts say nothing. */
function compactCuts(cuts: Shrunk["cuts"]): Shrunk["cuts"] {
  return Object.fromEntries(
    Object.entries(cuts).filter(([, part]) => !Array.isArray(part) || part.length > 0),
  );
}
