import { expect, it } from "vitest";
import { closestOf } from "./closest-of.ts";

it("finds the candidate within a few typing errors, whatever the case", () => {
  const candidates = ["use-lite", "image-descriptor"];
  expect(closestOf("Use-Light", candidates)).toBe("use-lite");
  expect(closestOf("image-descripter", candidates)).toBe("image-descriptor");
});

it("suggests nothing where nothing is near", () => {
  expect(closestOf("chroma-default", ["use-lite"])).toBeUndefined();
  expect(closestOf("x", [])).toBeUndefined();
});
