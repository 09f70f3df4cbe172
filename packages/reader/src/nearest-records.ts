/**
 * Exact nearest records over layers: each layer ranks its own vectors lazily, the nearest candidate
 * of all is resolved and filtered, until k are found. Equal distances are ordered by id, so that an
 * answer does not depend on how runs happen to lie in segments.
 */
import {
  compareIds,
  matchesDocument,
  matchesWhere,
  type PutRow,
  type Where,
  type WhereDocument,
  whereKeys,
} from "@silt/core";
import type { Layer, LayerVectors } from "./layer.ts";
import type { Neighbour } from "./ranking.ts";
import { liveForm } from "./resolve-record.ts";

export interface RecordFilter {
  readonly where?: Where | undefined;
  readonly whereDocument?: WhereDocument | undefined;
}

/** A record and its distance to the query. */
export interface NearRecord {
  readonly record: PutRow;
  readonly distance: number;
}

export function matchesFilter(record: PutRow, { where, whereDocument }: RecordFilter): boolean {
  return (
    (where === undefined || matchesWhere(where, record.metadata)) &&
    (whereDocument === undefined || matchesDocument(whereDocument, record.document))
  );
}

/** Keys of a filter that no record of any layer has: most often a wrong name (F68). */
export function unknownWhereKeys(layers: readonly Layer[], { where }: RecordFilter): string[] {
  if (where === undefined) return [];
  return whereKeys(where).filter((key) => !layers.some((layer) => layer.hasMetadataKey(key)));
}

/** Candidates of one layer, with the next one at hand. */
interface Candidates {
  readonly index: number;
  readonly vectors: LayerVectors;
  readonly ranked: Generator<Neighbour, void>;
  next: Neighbour | undefined;
}

/** The `k` nearest records that match, nearest first. Fewer only when there are no more. */
export function nearestRecords(
  layers: readonly Layer[],
  query: Float32Array,
  k: number,
  filter: RecordFilter,
): readonly NearRecord[] {
  const candidates = layers.flatMap((layer, index): Candidates[] => {
    const vectors = layer.vectors();
    if (vectors.block.count === 0) return [];
    const ranked = vectors.block.ranked(query, k);
    return [{ index, vectors, ranked, next: nextOf(ranked) }];
  });
  const found: NearRecord[] = [];
  while (found.length < k) {
    const nearest = takeNearest(candidates);
    if (nearest === undefined) break;
    found.push(...matching(layers, nearest, filter));
  }
  return withTies(layers, candidates, found, k, filter);
}

function nextOf(ranked: Generator<Neighbour, void>): Neighbour | undefined {
  const next = ranked.next();
  return next.done ? undefined : next.value;
}

interface Candidate {
  readonly index: number;
  readonly vectors: LayerVectors;
  readonly neighbour: Neighbour;
}

function takeNearest(
  candidates: readonly Candidates[],
  within = Number.POSITIVE_INFINITY,
): Candidate | undefined {
  let best: Candidates | undefined;
  for (const candidate of candidates) {
    if (candidate.next === undefined) continue;
    if (best?.next === undefined || candidate.next.distance < best.next.distance) best = candidate;
  }
  if (best?.next === undefined || best.next.distance > within) return undefined;
  const neighbour = best.next;
  best.next = nextOf(best.ranked);
  return { index: best.index, vectors: best.vectors, neighbour };
}

function matching(
  layers: readonly Layer[],
  { index, vectors, neighbour }: Candidate,
  filter: RecordFilter,
): NearRecord[] {
  const record = liveForm(layers, index, vectors.rowAt(neighbour.index));
  if (record === undefined || !matchesFilter(record, filter)) return [];
  return [{ record, distance: neighbour.distance }];
}

const byDistanceThenId = (a: NearRecord, b: NearRecord) =>
  a.distance - b.distance || compareIds(a.record.id, b.record.id);

/** Goes on through all that is as near as the last, so that ties are decided by id. */
function withTies(
  layers: readonly Layer[],
  candidates: readonly Candidates[],
  found: NearRecord[],
  k: number,
  filter: RecordFilter,
): readonly NearRecord[] {
  const last = found.at(-1);
  if (last === undefined || found.length < k) return found.sort(byDistanceThenId);
  for (;;) {
    const tied = takeNearest(candidates, last.distance);
    if (tied === undefined) break;
    found.push(...matching(layers, tied, filter));
    // Memory stays bounded however many are equal.
    if (found.length >= 2 * k + 1_000) found.sort(byDistanceThenId).splice(k);
  }
  return found.sort(byDistanceThenId).slice(0, k);
}
