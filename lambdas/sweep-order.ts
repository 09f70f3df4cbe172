import type { Random } from "@silt/core";

/**
 * The same items in a random order. A round that is cut short by its time, in a container that remembers nothing of
 * the one before, must not begin with the same ones each time: of any two, each comes first in half of the rounds.
 */
export function shuffled<T>(items: readonly T[], random: Pick<Random, "fraction">): readonly T[] {
  const placed = items.map((item) => ({ item, place: random.fraction() }));
  return placed.sort((a, b) => a.place - b.place).map(({ item }) => item);
}
