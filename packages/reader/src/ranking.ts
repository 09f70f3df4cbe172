import type { ScoreBounds } from "./score-bounds.ts";

/** A row of a block and its exact distance (`distanceOf` in float64). */
export interface Neighbour {
  readonly index: number;
  readonly distance: number;
}

/** What a ranking needs to know about one query on one block. */
export interface RankingInput {
  /** float32 scores by row; NaN where float32 can't tell. May be computed anew at each call. */
  readonly scores: () => Float32Array;
  readonly bounds: ScoreBounds;
  readonly distanceAt: (index: number) => number;
}

/** Each batch that the caller needs after the first is this many times larger. */
const BATCH_GROWTH = 4;

/** The `count`-th smallest score above `above`, or Infinity where there are not so many. */
export function smallestScore(scores: Float32Array, above: number, count: number): number {
  if (count >= scores.length) return Number.POSITIVE_INFINITY;
  // A heap of the smallest so far, largest at the root; NaN never enters, for it compares false.
  const heap = new Float32Array(count).fill(Number.POSITIVE_INFINITY);
  let root = Number.POSITIVE_INFINITY;
  for (let index = 0; index < scores.length; index++) {
    const score = scores[index] as number;
    if (score < root && score > above) {
      siftDown(heap, score);
      root = heap[0] as number;
    }
  }
  return root;
}

/** Replaces the root by `value` and restores the heap. */
function siftDown(heap: Float32Array, value: number): void {
  const length = heap.length;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= length) break;
    const right = child + 1;
    if (right < length && (heap[right] as number) > (heap[child] as number)) child = right;
    if ((heap[child] as number) <= value) break;
    heap[at] = heap[child] as number;
    at = child;
  }
  heap[at] = value;
}

function byDistanceThenIndex(a: Neighbour, b: Neighbour): number {
  return a.distance - b.distance || a.index - b.index;
}

/**
 * All rows by ascending (exact distance, index), in batches of at least `first`, 4 `first`, … rows.
 *
 * A batch takes every row up to a score, `reach`, and computes its exact distance. Rows beyond
 * `reach` are certainly not nearer than `bounds.lowest(reach)`, so what lies within that is final;
 * the rest waits for the next batch. Rows without a distance (NaN) are left out.
 */
export function* rankExactly(input: RankingInput, first: number): Generator<Neighbour, void> {
  const { bounds } = input;
  let waiting: Neighbour[] = [];
  let reached: number | undefined;
  for (let size = first; reached !== Number.POSITIVE_INFINITY; size *= BATCH_GROWTH) {
    const scores = input.scores();
    const smallest = smallestScore(scores, reached ?? Number.NEGATIVE_INFINITY, size);
    const reach = bounds.reach(smallest);
    for (let index = 0; index < scores.length; index++) {
      const score = scores[index] as number;
      // NaN belongs to the first batch: nothing is known about it, it may be the nearest.
      if (score > reach || (reached !== undefined && !(score > reached))) continue;
      const distance = input.distanceAt(index);
      if (!Number.isNaN(distance)) waiting.push({ index, distance });
    }
    waiting.sort(byDistanceThenIndex);
    const final = reach === Number.POSITIVE_INFINITY ? reach : bounds.lowest(reach);
    let given = 0;
    while (given < waiting.length && (waiting[given] as Neighbour).distance <= final) {
      yield waiting[given++] as Neighbour;
    }
    waiting = waiting.slice(given);
    reached = reach;
  }
}
