import { describe, expect, it } from "vitest";
import { createPaint, hasColours, settleLine } from "./paint.ts";
import { plainText } from "./plain-text.ts";

const TTY = { isTTY: true };
const PIPE = {};

describe("hasColours()", () => {
  it("takes a terminal", () => {
    expect(hasColours(TTY, { TERM: "xterm" })).toBe(true);
    expect(hasColours(PIPE, { TERM: "xterm" })).toBe(false);
    expect(hasColours(TTY, { TERM: "dumb" })).toBe(false);
  });

  it("respects NO_COLOR unless it is empty", () => {
    expect(hasColours(TTY, { NO_COLOR: "1" })).toBe(false);
    expect(hasColours(TTY, { NO_COLOR: "" })).toBe(true);
  });

  it("lets FORCE_COLOR decide for any stream", () => {
    expect(hasColours(PIPE, { FORCE_COLOR: "1", NO_COLOR: "1", TERM: "dumb" })).toBe(true);
    expect(hasColours(TTY, { FORCE_COLOR: "0" })).toBe(false);
    expect(hasColours(TTY, { FORCE_COLOR: "false" })).toBe(false);
    expect(hasColours(PIPE, { FORCE_COLOR: "" })).toBe(false);
  });
});

describe("createPaint()", () => {
  it("changes nothing where colours are off", () => {
    expect(createPaint(false).red("damaged")).toBe("damaged");
  });

  it("wraps text and nests", () => {
    const { bold, red } = createPaint(true);
    expect(red("x")).toBe("\u001b[31mx\u001b[39m");
    expect(bold(red("x"))).toBe("\u001b[1m\u001b[31mx\u001b[39m\u001b[22m");
    expect(bold("")).toBe("");
  });
});

describe("plainText()", () => {
  it("makes every control character harmless", () => {
    const all = Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code)).join("");
    expect(plainText(all)).not.toMatch(/\p{Cc}/u);
    expect(plainText("\u001b[2J\u0007\u007f\u009b31m")).toBe("␛[2J␇␡\ufffd31m");
  });

  it("keeps data on one line and in its direction", () => {
    expect(plainText("two\r\ncoffees\tto go\u2028now")).toBe("two coffees to go now");
    expect(plainText("a\u202egnp.exe")).toBe("a\ufffdgnp.exe");
    expect(plainText("\ud800half")).toBe("\ufffdhalf");
    expect(plainText("👩‍👧 日本 café")).toBe("👩‍👧 日本 café");
  });
});

describe("settleLine()", () => {
  const { red } = createPaint(true);

  it("keeps only paint's own sequences, and closes them", () => {
    expect(settleLine(`${red("bad")} \u001b]0;title\u0007`, true)).toBe(
      "\u001b[31mbad\u001b[39m ␛]0;title␇\u001b[0m",
    );
    expect(settleLine("\u001b[8mhidden", true)).toBe("␛[8mhidden");
  });

  it("lets no escape through where colours are off", () => {
    expect(settleLine(`${red("bad")} \u001b[31mid`, false)).toBe("bad id");
  });
});
