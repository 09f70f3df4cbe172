/**
 * Sums the JSON reports of all test runs in a folder: names what failed or was skipped, then closes
 * with the plain line `N passed, N failed` (`, N skipped`). Exit code 1 unless all is well.
 *
 * `node .ci/sum-reports.ts <folder> [failed part…]`: the parts of the gate that ended with an error.
 */
import { readdirSync, readFileSync } from "node:fs";
import { isAbsolute, join, relative } from "node:path";

interface TestResult {
  readonly fullName: string;
  readonly status: string;
}

/** What of vitest's JSON report is used. */
export interface TestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly TestResult[];
  }[];
}

export interface Totals {
  readonly passed: number;
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
}

/** A file that failed without a failed test (it didn't load, a hook threw) is one failure. */
export function sumReports(reports: readonly TestReport[]): Totals {
  const totals = { passed: 0, failed: [] as string[], skipped: [] as string[] };
  for (const file of reports.flatMap((all) => all.testResults)) {
    const { status, assertionResults } = file;
    const name = isAbsolute(file.name) ? relative(process.cwd(), file.name) : file.name;
    const failedBefore = totals.failed.length;
    for (const test of assertionResults) {
      if (test.status === "passed") totals.passed += 1;
      else if (test.status === "failed") totals.failed.push(`${name}: ${test.fullName}`);
      else totals.skipped.push(`${name}: ${test.fullName}`);
    }
    if (status === "failed" && totals.failed.length === failedBefore) totals.failed.push(name);
  }
  return totals;
}

/**
 * The closing lines. A part of the gate that failed although no test did (format, types, a crash of
 * the runner) is a failure of its own; so is a run without any test. A skipped test isn't all well.
 */
export function closingLines(
  totals: Totals,
  failedParts: readonly string[],
): { readonly lines: readonly string[]; readonly ok: boolean } {
  const { passed, skipped } = totals;
  const testParts = failedParts.filter((part) => part.startsWith("test"));
  const explained = totals.failed.length > 0 ? testParts : [];
  const otherParts = failedParts.filter((part) => !explained.includes(part));
  const failed = [...totals.failed, ...otherParts.map((part) => `npm run ${part}`)];
  if (passed + failed.length + skipped.length === 0) failed.push("no test ran");
  const count = `${passed} passed, ${failed.length} failed`;
  return {
    lines: [
      ...failed.map((what) => `FAILED ${what}`),
      ...skipped.map((what) => `SKIPPED ${what}`),
      skipped.length === 0 ? count : `${count}, ${skipped.length} skipped`,
    ],
    ok: failed.length === 0 && skipped.length === 0,
  };
}

if (import.meta.main) {
  const [folder = "", ...failedParts] = process.argv.slice(2);
  const reports = readdirSync(folder).map(
    (name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as TestReport,
  );
  const { lines, ok } = closingLines(sumReports(reports), failedParts);
  process.stdout.write(`${lines.join("\n")}\n`);
  process.exitCode = ok ? 0 : 1;
}
