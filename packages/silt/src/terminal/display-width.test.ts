import { describe, expect, it } from "vitest";
import { displayWidth, truncate } from "./display-width.ts";

describe("displayWidth()", () => {
  it.each([
    ["plain", 5],
    ["", 0],
    ["café", 4],
    ["cafe\u0301", 4],
    ["日本語", 6],
    ["한국", 4],
    ["ｱｲｳ", 3],
    ["Ａ１", 4],
    ["🧾", 2],
    ["👩‍👩‍👧", 2],
    ["🇩🇪", 2],
    ["\u200b", 0],
    ["…–█", 3],
  ])("of %j is %d columns", (text, width) => expect(displayWidth(text)).toBe(width));
});

describe("truncate()", () => {
  it("leaves what fits and shows a cut", () => {
    expect(truncate("receipt", 7)).toBe("receipt");
    expect(truncate("receipt", 6)).toBe("recei…");
    expect(truncate("receipt", 1)).toBe("…");
    expect(truncate("receipt", 0)).toBe("");
  });

  it("never cuts a wide character or a cluster in halves", () => {
    expect(truncate("日本語", 5)).toBe("日本…");
    expect(truncate("日本語", 4)).toBe("日…");
    expect(truncate("👩‍👩‍👧👩‍👩‍👧", 3)).toBe("👩‍👩‍👧…");
  });
});
