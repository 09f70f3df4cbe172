/** What an exploration saw, for people. */
import type { ExploreReport } from "@silt/testkit";

const COLUMNS: readonly (readonly [title: string, of: (report: ExploreReport) => string])[] = [
  ["configuration", ({ configuration }) => configuration],
  ["faults", ({ limits }) => `${limits.faults}${limits.late === true ? " late" : ""}`],
  ["expiries", ({ limits }) => String(limits.steals)],
  [
    "switches",
    ({ limits }) => (Number.isFinite(limits.switches) ? String(limits.switches) : "any"),
  ],
  ["states", ({ states }) => grouped(states)],
  ["transitions", ({ transitions }) => grouped(transitions)],
  ["pruned", ({ pruned }) => grouped(pruned)],
  ["executions", ({ executions }) => grouped(executions)],
  ["deepest", ({ deepest }) => String(deepest)],
  ["worlds", ({ worlds }) => grouped(worlds)],
  ["settled", ({ settled }) => grouped(settled)],
  ["local", ({ localStates }) => grouped(localStates)],
  ["seconds", ({ seconds }) => seconds.toFixed(1)],
  ["result", ({ found, complete }) => found?.invariant ?? (complete ? "all seen" : "time is over")],
];

const grouped = (number: number) => number.toLocaleString("en-US");

/** Lines of a table, the titles first. */
export function formatTable(reports: readonly ExploreReport[]): string {
  const rows = [
    COLUMNS.map(([title]) => title),
    ...reports.map((report) => COLUMNS.map(([, of]) => of(report))),
  ];
  const widths = COLUMNS.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lineOf = (row: readonly string[]) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 || column === row.length - 1
          ? cell.padEnd(width)
          : cell.padStart(width);
      })
      .join("  ")
      .trimEnd();
  return `${rows.map(lineOf).join("\n")}\n`;
}

/** A violation with the steps that lead to it. */
export function formatFound({ configuration, found }: ExploreReport): string {
  if (found === undefined) return "";
  const steps = found.trace.map((line, index) => `${String(index + 1).padStart(4)}  ${line}`);
  return `\n${configuration}: ${found.message}\n${steps.join("\n")}\n`;
}
