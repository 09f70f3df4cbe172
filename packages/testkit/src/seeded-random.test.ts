import { describe, expect, it } from "vitest";
import { createSeededRandom } from "./seeded-random.ts";

const DRAWS = 10_000;

describe("createSeededRandom()", () => {
  it("gives the same for the same seed, and other things for another", () => {
    const draw = (seed: number) => {
      const random = createSeededRandom(seed);
      return [random.fraction(), random.int(1_000_000), ...random.bytes(8), random.fork().int(99)];
    };
    expect(draw(5)).toEqual(draw(5));
    expect(draw(5)).not.toEqual(draw(6));
  });

  it("int() is below its bound and spreads evenly", () => {
    const random = createSeededRandom(1);
    const counts = new Array<number>(10).fill(0);
    for (let draw = 0; draw < DRAWS; draw++) {
      const drawn = random.int(10);
      counts[drawn] = (counts[drawn] as number) + 1;
    }
    for (const count of counts) expect(Math.abs(count - DRAWS / 10)).toBeLessThan(DRAWS / 50);
    expect(counts).toHaveLength(10);
  });

  it("shuffle() keeps every item and reaches every order", () => {
    const random = createSeededRandom(2);
    const orders = new Set<string>();
    for (let draw = 0; draw < 200; draw++) {
      const shuffled = random.shuffle(["a", "b", "c"]);
      expect(shuffled.toSorted()).toEqual(["a", "b", "c"]);
      orders.add(shuffled.join(""));
    }
    expect(orders.size).toBe(6);
  });

  it("a fork does not depend on how much its parent is used afterwards", () => {
    const [busy, idle] = [createSeededRandom(3), createSeededRandom(3)];
    const [first, second] = [busy.fork(), idle.fork()];
    busy.bytes(100);
    expect(first.bytes(8)).toEqual(second.bytes(8));
  });
});
