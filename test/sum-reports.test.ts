import { describe, expect, it } from "vitest";
import { closingLines, sumReports, type TestReport } from "../.ci/sum-reports.ts";

function report(name: string, status: string, ...tests: readonly string[]): TestReport {
  const assertionResults = tests.map((test, index) => ({ fullName: `${index}`, status: test }));
  return { testResults: [{ name, status, assertionResults }] };
}

const GOOD = report("a.test.ts", "passed", "passed", "passed");

describe("F48 the gate's totals", () => {
  it("add up all reports", () => {
    const totals = sumReports([GOOD, report("b.test.ts", "passed", "passed")]);
    expect(closingLines(totals, [])).toEqual({ lines: ["3 passed, 0 failed"], ok: true });
  });

  it("name and count each failed test once, though its part failed too", () => {
    const totals = sumReports([GOOD, report("b.test.ts", "failed", "passed", "failed")]);
    expect(closingLines(totals, ["test"])).toEqual({
      lines: ["FAILED b.test.ts: 1", "3 passed, 1 failed"],
      ok: false,
    });
  });

  it("count a file that does not load", () => {
    const totals = sumReports([GOOD, report("b.test.ts", "failed")]);
    expect(closingLines(totals, ["test"]).lines).toEqual([
      "FAILED b.test.ts",
      "2 passed, 1 failed",
    ]);
  });

  it("name what was skipped or left to do, and call that no success", () => {
    const totals = sumReports([report("b.test.ts", "passed", "passed", "skipped", "todo")]);
    expect(closingLines(totals, [])).toEqual({
      lines: ["SKIPPED b.test.ts: 1", "SKIPPED b.test.ts: 2", "1 passed, 0 failed, 2 skipped"],
      ok: false,
    });
  });

  it("count a part that failed without a failed test", () => {
    expect(closingLines(sumReports([GOOD]), ["types", "test"])).toEqual({
      lines: ["FAILED npm run types", "FAILED npm run test", "2 passed, 2 failed"],
      ok: false,
    });
  });

  it("are a failure when no test ran", () => {
    expect(closingLines(sumReports([]), [])).toEqual({
      lines: ["FAILED no test ran", "0 passed, 1 failed"],
      ok: false,
    });
  });
});
