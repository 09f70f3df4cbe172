/** Levenshtein distance, case ignored. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, substituted));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** The candidate that `typed` most likely meant, or undefined when none is near. */
export function closestOf(typed: string, candidates: readonly string[]): string | undefined {
  const lower = typed.toLowerCase();
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(lower, candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  if (best === undefined || best.distance > Math.max(2, typed.length / 3)) return undefined;
  return best.candidate;
}
