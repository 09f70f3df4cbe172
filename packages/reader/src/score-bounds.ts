import type { Metric } from "@silt/core";
import { roundingsPerScore } from "./wasm-kernel.ts";

/**
 * How far a kernel's float32 score can be from the exact distance (`distanceOf`, float64). Scores
 * are -cos, -dot or the squared distance; each bound is worst-case rounding analysis (Higham,
 * "Accuracy and Stability of Numerical Algorithms", section 3.1), not a guess.
 */
export interface ScoreBounds {
  /** No row with this score or a higher one has an exact distance below this. */
  lowest(score: number): number;
  /** Rows up to this score include every row that can beat or equal one with `score`. */
  reach(score: number): number;
}

/** Half the distance from 1 to the next float32. */
const UNIT = 2 ** -24;
/** Covers products of roundings, and the roundings of the float64 definition itself. */
const SLACK = 1.01;
const FLOAT64_SLACK = 2 ** -50;
/** What one underflowing product or square can lose. */
const UNDERFLOW = 2 ** -149;
const SQUARE_UNDERFLOW = 2 ** -126;
/** Far enough from the largest float32 that no partial sum overflows. */
const DOT_MAX = 1e37;

function absolute(error: number, offset: number): ScoreBounds {
  return {
    lowest: (score) => offset + score - error,
    reach: (score) => score + 2 * error,
  };
}

/** Bounds for `cosine` and `l2`: the same for all rows that a kernel can score at all. */
function fixedBounds(metric: "cosine" | "l2", dimension: number): ScoreBounds {
  const roundings = roundingsPerScore(dimension);
  // Dot product, half of it again in the norm; query, norm, product and result are rounded.
  if (metric === "cosine") return absolute((1.5 * roundings + 4) * UNIT * SLACK, 1);
  const relative = (roundings + 1) * UNIT * SLACK;
  const lost = dimension * UNDERFLOW;
  return {
    lowest: (score) => score * (1 - relative) - lost,
    reach: (score) => (score * (1 + relative) + 2 * lost) / (1 - relative),
  };
}

/** Bounds for `ip`, whose error grows with the longest row; `squareMax` is its float32 square. */
function innerProductBounds(dimension: number, squareMax: number, query: number): ScoreBounds {
  const relative = (roundingsPerScore(dimension) + 1) * UNIT * SLACK;
  const longest = Math.sqrt(squareMax * (1 + relative) + dimension * SQUARE_UNDERFLOW);
  const dotMax = longest * query;
  if (!(dotMax <= DOT_MAX)) return absolute(Number.POSITIVE_INFINITY, 1);
  const error = relative * dotMax + dimension * UNDERFLOW + FLOAT64_SLACK * (1 + dotMax);
  return absolute(error, 1);
}

/** Bounds for one query, whose length is `queryNorm`, over rows of squares up to `squareMax`. */
export function scoreBounds(
  metric: Metric,
  dimension: number,
  squareMax: number,
  queryNorm: number,
): ScoreBounds {
  return metric === "ip"
    ? innerProductBounds(dimension, squareMax, queryNorm)
    : fixedBounds(metric, dimension);
}

/** Squares outside are inexact in float32: such rows get no scale, so their score is NaN. */
const SQUARE_MIN = 1e-30;
const SQUARE_MAX = 1e37;

/** 1 / length of a row by its float32 square, or NaN where {@link ScoreBounds} would not hold. */
export function cosineScale(square: number): number {
  return square >= SQUARE_MIN && square <= SQUARE_MAX ? 1 / Math.sqrt(square) : Number.NaN;
}
