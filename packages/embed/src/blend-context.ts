/** A vector and how much it counts. */
export interface WeightedVector {
  readonly vector: Float32Array;
  readonly weight: number;
}

/** Weights of a line's embedding: its own text outweighs all its context together. */
export const LINE_WEIGHTS = { own: 0.7, previous: 0.1, next: 0.1, context: 0.1 } as const;
/** Weights of a word's embedding. */
export const WORD_WEIGHTS = { own: 0.7, line: 0.2, context: 0.1 } as const;

/**
 * The weighted mean of unit vectors, at length 1. Embedding a text and its context apart and adding
 * them keeps the text in charge, whatever the lengths, where a joined text would drown "2 x 3.50" in
 * its neighbours; and every distinct text is embedded once. Zero vectors are skipped.
 */
export function blendContext(parts: readonly WeightedVector[]): Float32Array {
  const blended = new Float32Array(parts[0]?.vector.length ?? 0);
  for (const { vector, weight } of parts) {
    const norm = Math.hypot(...vector);
    if (norm === 0) continue;
    for (let i = 0; i < blended.length; i++) {
      blended[i] = (blended[i] as number) + ((vector[i] as number) * weight) / norm;
    }
  }
  const norm = Math.hypot(...blended);
  return norm === 0 ? blended : blended.map((component) => component / norm);
}
