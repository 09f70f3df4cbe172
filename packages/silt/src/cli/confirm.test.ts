import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { CommandRun } from "./command-run.ts";
import { confirm } from "./confirm.ts";

function runWith(stdin: PassThrough, signal: AbortSignal): CommandRun {
  const sink = { write: () => true, isTTY: true };
  const host = { stdout: sink, stderr: sink, stdin, env: {}, signal, nowMs: () => 0 };
  return new CommandRun(host, {});
}

describe("confirm()", () => {
  it.each([
    ["y\n", true],
    ["YES\n", true],
    [" y \n", true],
    ["yes, please\n", false],
    ["\n", false],
    ["n\ny\n", false],
  ])("takes %j for %s", async (typed, answer) => {
    const stdin = new PassThrough();
    stdin.write(typed);
    const run = runWith(stdin, new AbortController().signal);
    expect(await confirm(run, "Sure?")).toBe(answer);
    expect(stdin.destroyed).toBe(true);
  });

  it("ends at once when it is interrupted, and leaves no read that keeps the process", async () => {
    const stdin = new PassThrough();
    const controller = new AbortController();
    const asked = confirm(runWith(stdin, controller.signal), "Sure?");
    controller.abort(new Error("interrupted"));
    await expect(asked).rejects.toThrow("interrupted");
    expect(stdin.destroyed).toBe(true);
  });
});
