/** What a simulation saw: so that one can see that it tests something. */
export type Totals = Record<string, number>;

export function addTotals(into: Totals, more: Totals): Totals {
  for (const [name, value] of Object.entries(more)) into[name] = (into[name] ?? 0) + value;
  return into;
}
