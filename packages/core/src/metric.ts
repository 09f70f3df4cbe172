/** Names and meanings are Chroma's: `cosine` = 1 - cos, `l2` = squared distance, `ip` = 1 - dot. */
export const METRICS = ["cosine", "l2", "ip"] as const;
export type Metric = (typeof METRICS)[number];

/** Distance of two vectors of equal length, in float64: the definition that searches are tested against. */
export function distanceOf(metric: Metric, a: ArrayLike<number>, b: ArrayLike<number>): number {
  let dot = 0;
  let aSquared = 0;
  let bSquared = 0;
  let apart = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    dot += x * y;
    aSquared += x * x;
    bSquared += y * y;
    apart += (x - y) * (x - y);
  }
  if (metric === "l2") return apart;
  if (metric === "ip") return 1 - dot;
  return 1 - dot / Math.sqrt(aSquared * bSquared);
}
