import { expect, it } from "vitest";
import { compareIds } from "./compare-ids.ts";

it("compareIds() orders by UTF-8 bytes, as SQLite does", () => {
  const ids = ["a", "ab", "b", "é", "\u{ffff}", "\u{10000}", "\u{1f600}", "a\u{1f600}", "a\ue000"];
  const byBytes = ids.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  expect(ids.toSorted(compareIds)).toEqual(byBytes);
  expect(ids.toSorted()).not.toEqual(byBytes);
});
