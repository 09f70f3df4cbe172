import { describe, expect, it } from "vitest";
import { displayWidth } from "./display-width.ts";
import { createTerminal, type TerminalOptions } from "./terminal.ts";

const CLEAR = "\r\u001b[K";

function open(
  options: Partial<TerminalOptions> & { readonly tty?: boolean; readonly columns?: number } = {},
) {
  const written = { out: "", error: "" };
  const clock = { nowMs: 0 };
  const { tty = false, columns = 60, ...rest } = options;
  const look = tty ? { isTTY: true, columns } : {};
  const terminal = createTerminal({
    stdout: { write: (text) => (written.out += text), ...look },
    stderr: { write: (text) => (written.error += text), ...look },
    env: {},
    quiet: false,
    json: false,
    nowMs: () => clock.nowMs,
    ...rest,
  });
  return { terminal, written, clock };
}

/** What a terminal shows at the end of all that was written to it. */
function screen(written: string): string {
  return (written.split("\n").at(-1) as string).split(CLEAR).at(-1) as string;
}

describe("createTerminal()", () => {
  it("parts results from notes and errors", () => {
    const { terminal, written } = open();
    terminal.print("done");
    terminal.note("3 skipped");
    terminal.error("Cannot open");
    expect(written).toEqual({ out: "done\n", error: "3 skipped\nCannot open\n" });
  });

  it("keeps standard output for one document with json", () => {
    const { terminal, written } = open({ json: true });
    terminal.print("done");
    terminal.table(["id"], [["a"]]);
    terminal.json({ ok: true, text: "two\n\u001b" });
    expect(written.out).toBe('{"ok":true,"text":"two\\n\\u001b"}\n');
    const human = open();
    human.terminal.json({});
    expect(human.written.out).toBe("");
  });

  it("says only results and errors when quiet", () => {
    const { terminal, written, clock } = open({ quiet: true, tty: true });
    const progress = terminal.progress("ingest", "images");
    progress.update(1, 2);
    clock.nowMs = 60_000;
    progress.update(2, 2);
    terminal.note("note");
    terminal.print("done");
    progress.end();
    terminal.error("failed");
    expect(written).toEqual({ out: "done\n", error: "failed\n" });
  });

  it("colours each stream only if that one shows colours", () => {
    const { terminal, written } = open({
      stderr: { isTTY: true, write: (text) => (written.error += text) },
    });
    terminal.print(terminal.paint.green("ok"));
    terminal.note(terminal.paint.green("ok"));
    expect(written.out).toBe("ok\n");
    expect(written.error).toBe("\u001b[32mok\u001b[39m\u001b[0m\n");
  });

  it("lets no escape sequence of data reach the terminal", () => {
    const { terminal, written } = open({ tty: true });
    terminal.print("id \u001b]0;owned\u0007\u001b[2J");
    terminal.progress("\u001b[2J", "images").update(1, 2);
    expect(written.out).toBe("id ␛]0;owned␇␛[2J\n");
    expect(screen(written.error)).toMatch(/^␛\[2J /);
  });

  it("cuts tables to the terminal, and not in a pipe", () => {
    const column = { title: "document", shrinks: true };
    const [narrow, pipe] = [open({ tty: true, columns: 20 }), open()];
    for (const { terminal } of [narrow, pipe]) terminal.table([column], [["x".repeat(30)]]);
    expect(narrow.written.out).toContain(`\n${"x".repeat(19)}…\n`);
    expect(pipe.written.out).toBe(`document\n${"x".repeat(30)}\n`);
  });
});

describe("progress() on a terminal", () => {
  it("redraws one line with bar, counts, rate and time left, and clears it", () => {
    const { terminal, written, clock } = open({ tty: true, columns: 79 });
    const progress = terminal.progress("ingest", "images");
    progress.update(0, 400);
    clock.nowMs = 10_000;
    progress.update(100);
    expect(screen(written.error)).toBe(
      "ingest  ██████░░░░░░░░░░░░░░░░░░  100/400 images  10/s  30 s left",
    );
    progress.end();
    expect(screen(written.error)).toBe("");
    expect(written.error).not.toContain("\n");
  });

  it("never draws wider than the terminal, whatever the numbers", () => {
    for (let columns = 20; columns < 100; columns++) {
      const { terminal, written, clock } = open({ tty: true, columns });
      const progress = terminal.progress("ingest 日本語", "images");
      progress.update(0, 3_000_000);
      clock.nowMs = 777_777;
      progress.update(123_456);
      expect(displayWidth(screen(written.error))).toBeLessThan(columns);
    }
  });

  it("draws at most ten times a second", () => {
    const { terminal, written, clock } = open({ tty: true });
    const progress = terminal.progress("put", "records");
    for (let done = 0; done < 1_000; done++) {
      clock.nowMs = done;
      progress.update(done, 1_000);
    }
    expect(written.error.split(CLEAR)).toHaveLength(1 + 10);
  });

  it("judges the rate by the last half minute: a fast start is no promise", () => {
    const { terminal, written, clock } = open({ tty: true, columns: 100 });
    const progress = terminal.progress("ingest", "images");
    progress.update(0, 10_000);
    for (let second = 1; second <= 100; second++) {
      clock.nowMs = second * 1_000;
      progress.update(5_000 + second * 10);
    }
    expect(screen(written.error)).toContain("6,000/10,000 images  10/s  6 min 40 s left");
  });

  it("steps aside for a note", () => {
    const { terminal, written } = open({ tty: true });
    const progress = terminal.progress("ingest", "images");
    progress.update(1, 2);
    const bar = screen(written.error);
    terminal.note("one failed");
    expect(written.error).toBe(`${CLEAR}${bar}${CLEAR}one failed\n${CLEAR}${bar}`);
    progress.end();
    terminal.note("after");
    expect(written.error.endsWith(`${CLEAR}after\n`)).toBe(true);
  });

  it("shows bytes with their unit, and no bar without a total", () => {
    const { terminal, written, clock } = open({ tty: true });
    const progress = terminal.progress("download", "bytes");
    progress.update(0);
    clock.nowMs = 2_000;
    progress.update(4 * 1024 ** 2);
    expect(screen(written.error)).toBe("download  4.0 MiB  2.0 MiB/s");
  });
});

describe("progress() elsewhere", () => {
  it.each([
    ["a pipe", {}],
    ["a dumb terminal", { tty: true, env: { TERM: "dumb" } }],
  ])("writes plain lines to %s, at most every 5 s", (_, options) => {
    const { terminal, written, clock } = open(options);
    const progress = terminal.progress("ingest", "images");
    for (let second = 0; second <= 12; second++) {
      clock.nowMs = second * 1_000;
      progress.update(second * 2, 24);
    }
    progress.end();
    expect(written.error.split("\n")).toEqual([
      "ingest  10/24 images  2.0/s  7.0 s left",
      "ingest  20/24 images  2.0/s  2.0 s left",
      "ingest  24/24 images  2.0/s",
      "",
    ]);
  });

  it("writes nothing at all for short work", () => {
    const { terminal, written } = open();
    const progress = terminal.progress("put", "records");
    progress.update(5, 5);
    progress.end();
    expect(written.error).toBe("");
  });
});
