import { readFileSync } from "node:fs";
import { isSiltError } from "@silt/core";
import { expect, it } from "vitest";
import { parseSidecar } from "./sidecar.ts";

it("splits the example into context and metadata", () => {
  const file = new URL("../../../examples/images/receipt-kino-cafe.png.json", import.meta.url);
  expect(parseSidecar("a.json", readFileSync(file, "utf8"))).toEqual({
    context: expect.stringContaining("cafe"),
    metadata: { shop: "Kino", place: "harbour" },
  });
});

it("takes a sidecar without context", () => {
  expect(parseSidecar("a.json", '{"year": 2026, "paid": true}')).toEqual({
    metadata: { year: 2026, paid: true },
  });
});

it.each(["", "{", "[]", '"text"', "null", '{"a": {"b": 1}}', '{"a": null}', '{"context": 5}'])(
  "refuses %j with its name",
  (text) => {
    let failure: unknown;
    try {
      parseSidecar("a.png.json", text);
    } catch (error) {
      failure = error;
    }
    expect(isSiltError(failure, "invalid")).toBe(true);
    expect(String(failure)).toContain('Cannot read "a.png.json": ');
  },
);
