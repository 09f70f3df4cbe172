import { expect, it } from "vitest";
import { blendContext, LINE_WEIGHTS, WORD_WEIGHTS } from "./blend-context.ts";

const axis = (index: number, length = 1) =>
  Float32Array.from({ length: 4 }, (_, i) => (i === index ? length : 0));

it("keeps the own text in charge, whatever all context together says", () => {
  for (const { own, ...others } of [LINE_WEIGHTS, WORD_WEIGHTS]) {
    const context = Object.values(others).reduce((sum, weight) => sum + weight, 0);
    expect(own + context).toBeCloseTo(1);
    const agreed = blendContext([
      { vector: axis(0), weight: own },
      { vector: axis(1), weight: context },
    ]);
    expect(agreed[0]).toBeGreaterThan(0.9);
    const opposed = blendContext([
      { vector: axis(0), weight: own },
      { vector: axis(0, -1), weight: context },
    ]);
    expect(opposed[0]).toBeCloseTo(1);
  }
});

it("counts directions, not lengths, and gives length 1", () => {
  const parts = [
    { vector: axis(0, 100), weight: 0.5 },
    { vector: axis(1, 0.01), weight: 0.5 },
  ];
  const [x, y] = blendContext(parts);
  expect(x).toBeCloseTo(Math.SQRT1_2, 5);
  expect(y).toBeCloseTo(Math.SQRT1_2, 5);
});

it("skips zero vectors and leaves its inputs alone", () => {
  const own = axis(2, 3);
  expect(
    blendContext([
      { vector: own, weight: 0.7 },
      { vector: new Float32Array(4), weight: 0.3 },
    ]),
  ).toEqual(axis(2));
  expect(own).toEqual(axis(2, 3));
});
