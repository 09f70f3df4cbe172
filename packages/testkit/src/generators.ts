import {
  encodeEmbedding,
  type Metadata,
  type MetadataPatch,
  type Row,
  type SegmentContent,
  stampSequence,
} from "@silt/core";
import type { SeededRandom } from "./seeded-random.ts";

export interface ContentShape {
  /** So few that runs meet on most of them. */
  readonly ids: number;
  readonly parents: number;
  readonly operationsMax: number;
  readonly dimension: number;
}

export const SMALL_SHAPE: ContentShape = { ids: 6, parents: 3, operationsMax: 5, dimension: 2 };

const KEYS = ["shop", "seen", "price", "Ünïcode"] as const;
const VALUES = ["Kino", "", "ä", true, false, 0, -1.5, 1e21] as const;
const REPLACE_CHANCE = 0.35;

function randomMetadata(random: SeededRandom): Metadata {
  return Object.fromEntries(
    KEYS.filter(() => random.chance(0.5)).map((key) => [key, random.pick(VALUES)]),
  );
}

function randomPatch(random: SeededRandom): MetadataPatch {
  return Object.fromEntries(
    KEYS.filter(() => random.chance(0.5)).map((key) => [
      key,
      random.chance(0.4) ? null : random.pick(VALUES),
    ]),
  );
}

function randomRow(random: SeededRandom, id: string, shape: ContentShape): Row {
  const document = random.chance(0.5) ? `text ${random.int(100)}` : null;
  const dice = random.fraction();
  if (dice < 0.2) return { operation: "delete", id, sequence: 0 };
  if (dice < 0.5) {
    return { operation: "patch", id, document, metadata: randomPatch(random), sequence: 0 };
  }
  const components = Array.from({ length: shape.dimension }, () => 1 + random.int(1_000));
  return {
    operation: "put",
    id,
    // The same id may come back under another parent, or none.
    parent: random.chance(0.75) ? `parent-${random.int(shape.parents)}` : null,
    embedding: encodeEmbedding(components),
    document,
    metadata: randomMetadata(random),
    sequence: 0,
  };
}

/** What one writer's delta may hold: some replaced parents, and at most one operation an id. */
export function randomContent(
  random: SeededRandom,
  shape: ContentShape = SMALL_SHAPE,
): SegmentContent {
  const rows = new Map<string, Row>();
  for (let left = random.int(shape.operationsMax + 1); left > 0; left--) {
    const id = `id-${random.int(shape.ids)}`;
    rows.set(id, randomRow(random, id, shape));
  }
  const replaced = new Map<string, number>();
  while (random.chance(REPLACE_CHANCE)) replaced.set(`parent-${random.int(shape.parents)}`, 0);
  return { rows, replaced };
}

/** A log of `runs` runs, stamped with sequence numbers from 1. */
export function randomLog(
  random: SeededRandom,
  runs: number,
  shape: ContentShape = SMALL_SHAPE,
): readonly SegmentContent[] {
  return Array.from({ length: runs }, (_, index) =>
    stampSequence(randomContent(random, shape), index + 1),
  );
}
