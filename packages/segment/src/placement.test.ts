import { shardOf, shardOfKey } from "@silt/core";
import { describe, expect, it } from "vitest";
import { placementOf } from "./placement.ts";

const homeOf = (key: string) => shardOfKey(key, 4);

describe("F55 placementOf()", () => {
  it("lets everything lie in the only shard", () => {
    const { row, replaced } = placementOf("0-of-1");
    expect(row("a", "b")).toBeUndefined();
    expect(replaced("a")).toBeUndefined();
  });

  it("knows the one shard of an id, of its children and of a replaced parent", () => {
    for (const parent of ["a", "b", "page#2", "ä"]) {
      const child = `${parent}#line-1`;
      expect(shardOf(child, 4)).toBe(homeOf(parent));
      const home = placementOf(homeOf(parent));
      expect(home.row(child, parent)).toBeUndefined();
      expect(home.replaced(parent)).toBeUndefined();
      const others = ["0-of-4", "1-of-4", "2-of-4", "3-of-4"].filter((s) => s !== homeOf(parent));
      for (const other of others.map(placementOf)) {
        expect(other.row(child, parent)).toBe(`it belongs to shard ${homeOf(parent)}`);
        expect(other.replaced(parent)).toBe(`it belongs to shard ${homeOf(parent)}`);
      }
    }
  });

  it("refuses a child whose id does not say where its parent lives", () => {
    const { row } = placementOf(homeOf("child"));
    expect(row("child", "parent")).toBe("its id does not begin with its parent");
  });
});
