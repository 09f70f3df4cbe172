import {
  type CollectionIdentity,
  type Guard,
  type PutRow,
  parseRecord,
  type VectorField,
} from "@silt/core";
import type { PackedImage } from "./extract-worker.ts";
import type { ImageFile } from "./image-source.ts";
import { IMAGE_COLLECTIONS, type ImageCollection, type IngestTargets } from "./open-targets.ts";
import { IMAGE_FAMILY } from "./source-uri.ts";

/** What a picture became, checked against the collections. */
export interface Extraction {
  readonly rows: ReadonlyMap<ImageCollection, readonly PutRow[]>;
  readonly warnings: readonly string[];
  /** Of the picture's file. */
  readonly bytes: number;
}

interface ChangeBase {
  readonly file: ImageFile;
  /** As it was before the source was read; registering asks for exactly this revision. */
  readonly guard: Guard | undefined;
  /** Of the source as it was read. */
  readonly stamp: string;
}

/** What registration has to do about one source: records and guard, or the guard alone. */
export type SourceChange =
  | (ChangeBase & {
      readonly change: "ingested";
      readonly digest: string;
      readonly extraction: Extraction;
    })
  | (ChangeBase & { readonly change: "failed"; readonly digest: string; readonly reason: string })
  | (ChangeBase & { readonly change: "deleted" });

/** One collection's part of a change; the earlier records of the source all go. */
export interface CollectionChange {
  readonly identity: CollectionIdentity;
  readonly rows: readonly PutRow[];
}

const REASON_LENGTH_MAX = 1_000;

/** Checks what the extraction thread gave. Throws `invalid`, e.g. for a vector without direction. */
export function extractionOf(
  targets: IngestTargets,
  image: PackedImage,
  bytes: number,
): Extraction {
  const rows = new Map<ImageCollection, readonly PutRow[]>();
  for (const name of IMAGE_COLLECTIONS) {
    const identity = targets.collections.get(name);
    const { records, vectors } = image[name];
    if (records.length === 0 || identity === undefined) continue;
    const field = identity.vectors[0] as VectorField;
    const dimension = vectors.length / records.length;
    const parsed = records.map((record, index) => {
      const embedding = vectors.subarray(index * dimension, (index + 1) * dimension);
      return parseRecord({ ...record, embedding }, field, identity.shards);
    });
    rows.set(name, parsed);
  }
  return { rows, warnings: image.warnings, bytes };
}

/**
 * What goes into each collection. Nothing is the whole content where the source had records and has
 * none now: an image that lost its text, or is gone.
 */
export function collectionChanges(
  change: SourceChange,
  targets: IngestTargets,
): readonly CollectionChange[] {
  if (change.change === "failed") return [];
  return IMAGE_COLLECTIONS.flatMap((name) => {
    const identity = targets.collections.get(name);
    if (identity === undefined) return [];
    const rows = change.change === "ingested" ? (change.extraction.rows.get(name) ?? []) : [];
    const had = change.guard?.runs.some(
      ({ collection, storeId }) => collection === name && storeId === identity.storeId,
    );
    return rows.length > 0 || had === true ? [{ identity, rows }] : [];
  });
}

/** The guard afterwards. A failure keeps what the source was last turned into. */
export function nextGuard(
  change: SourceChange,
  pipelineId: string,
  runs: Guard["runs"],
  at: string,
): Guard {
  const { guard, file } = change;
  const base = {
    format: 1 as const,
    requires: [],
    uri: file.uri,
    family: IMAGE_FAMILY,
    rev: (guard?.rev ?? 0) + 1,
    pipelineId,
  };
  switch (change.change) {
    case "ingested":
      return { ...base, sourceDigest: change.digest, runs, failure: null, root: file.root };
    case "deleted":
      return { ...base, sourceDigest: null, runs, failure: null, root: guard?.root ?? file.root };
    case "failed":
      return {
        ...base,
        sourceDigest: guard?.sourceDigest ?? null,
        runs: guard?.runs ?? [],
        failure: {
          sourceDigest: change.digest,
          reason: change.reason.slice(0, REASON_LENGTH_MAX).toWellFormed(),
          at,
        },
        root: file.root,
      };
  }
}

/** Records that a change writes. */
export function countRecords(change: SourceChange): number {
  if (change.change !== "ingested") return 0;
  return [...change.extraction.rows.values()].reduce((sum, rows) => sum + rows.length, 0);
}
