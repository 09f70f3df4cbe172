import { describe, expect, it } from "vitest";
import { displayWidth } from "./display-width.ts";
import { createPaint } from "./paint.ts";
import { type Column, tableLines } from "./table.ts";

const paint = createPaint(false);
const COLUMNS: readonly Column[] = [
  { title: "shard" },
  { title: "rows" },
  { title: "document", shrinks: true },
];

describe("tableLines()", () => {
  it("aligns text left and numbers right, with two blanks between", () => {
    const rows = [
      ["0-of-4", 1_234, "two coffees"],
      ["1-of-4", 7, null],
    ];
    expect(tableLines(COLUMNS, rows, { paint })).toEqual([
      "shard    rows  document",
      "0-of-4  1,234  two coffees",
      "1-of-4      7  -",
    ]);
  });

  it("goes by display width", () => {
    const lines = tableLines(
      [{ title: "id" }, { title: "n" }],
      [
        ["日本", 1],
        ["ab", 2],
      ],
      { paint },
    );
    expect(lines).toEqual(["id    n", "日本  1", "ab    2"]);
  });

  it("aligns as a column says, a missing number too", () => {
    const columns: Column[] = [{ title: "bytes", align: "right" }, { title: "pending" }];
    const lines = tableLines(
      columns,
      [
        ["1.5 KiB", 3],
        [undefined, undefined],
      ],
      { paint },
    );
    expect(lines).toEqual(["  bytes  pending", "1.5 KiB        3", "      -        -"]);
  });

  it("cuts the column that shrinks, and no other, to the terminal's width", () => {
    const rows = [["0-of-4", 1_234, "two coffees and a slice of cake"]];
    const lines = tableLines(COLUMNS, rows, { paint, width: 30 });
    expect(lines[1]).toBe("0-of-4  1,234  two coffees an…");
    expect(Math.max(...lines.map(displayWidth))).toBe(30);
  });

  it("cuts the last of several first, and none below 8 columns or its title", () => {
    const columns: Column[] = [
      { title: "id", shrinks: true },
      { title: "a long title", shrinks: true },
    ];
    const row = ["x".repeat(20), "y".repeat(20)];
    expect(tableLines(columns, [row], { paint, width: 36 })[1]).toBe(
      `${"x".repeat(20)}  ${"y".repeat(13)}…`,
    );
    expect(tableLines(columns, [row], { paint, width: 5 })[1]).toBe("xxxxxxx…  yyyyyyyyyyy…");
  });

  it("paints the header dim and a cell by its text, outside its padding", () => {
    const colours = createPaint(true);
    const columns: Column[] = [{ title: "state", paint: colours.red }, { title: "n" }];
    expect(tableLines(columns, [["bad", 1]], { paint: colours })).toEqual([
      "\u001b[2mstate  n\u001b[22m",
      "\u001b[31mbad\u001b[39m    1",
    ]);
  });

  it("neutralises what data brings, paint's own sequences too", () => {
    const lines = tableLines([{ title: "id" }], [["\u001b[31mred\nforged"]], { paint });
    expect(lines).toEqual(["id", "␛[31mred forged"]);
  });
});
