/** Random contents as a shard of several takes them: ids and parents that hash to it, children under their parents. */
import { type Row, type SegmentContent, shardOfKey } from "@silt/core";
import type { SeededRandom } from "../seeded-random.ts";

const NAMES = new Map<string, readonly string[]>();
const NAMES_EACH = 12;
const CHILD_CHANCE = 0.7;

/** Names that hash to a shard, always the same. */
function namesIn(shard: string, shards: number): readonly string[] {
  const known = NAMES.get(shard);
  if (known !== undefined) return known;
  const names: string[] = [];
  for (let number = 0; names.length < NAMES_EACH; number++) {
    if (shardOfKey(`n${number}`, shards) === shard) names.push(`n${number}`);
  }
  NAMES.set(shard, names);
  return names;
}

const numberOf = (name: string): number => Number(/\d+$/.exec(name)?.[0] ?? 0);

/** The same operations on names that the shard may hold. */
export function placeContent(
  content: SegmentContent,
  shard: string,
  shards: number,
  random: SeededRandom,
): SegmentContent {
  if (shards === 1) return content;
  const names = namesIn(shard, shards);
  const parentOf = (parent: string) => names[numberOf(parent)] as string;
  const rows = new Map<string, Row>();
  for (const row of content.rows.values()) {
    const number = numberOf(row.id);
    const isPut = row.operation === "put";
    const parent = isPut ? row.parent : random.chance(CHILD_CHANCE) ? `p${random.int(3)}` : null;
    const id =
      parent === null ? (names[6 + (number % 6)] as string) : `${parentOf(parent)}#${number}`;
    if (isPut) rows.set(id, { ...row, id, parent: parent === null ? null : parentOf(parent) });
    else rows.set(id, { ...row, id });
  }
  const replaced = [...content.replaced].map(([parent, at]) => [parentOf(parent), at] as const);
  return { rows, replaced: new Map(replaced) };
}
