/** Answers over all shards of a collection. Each says what it was made from, shard by shard. */
import {
  type BlockedBy,
  type CollectionIdentity,
  compareIds,
  embeddingProblem,
  type Ports,
  type PutRow,
  type SegmentOwner,
  SiltError,
  shardOf,
  shardOfKey,
  shardRefs,
  type VectorField,
  type ViewOptions,
} from "@silt/core";
import { type LayeredShard, openLayeredShard, type ShardView } from "./layered-shard.ts";
import {
  matchesFilter,
  type NearRecord,
  nearestRecords,
  type RecordFilter,
  unknownWhereKeys,
} from "./nearest-records.ts";
import { recordsOfParent, resolveRecord, scanRecords } from "./resolve-record.ts";
import type { SnapshotOptions } from "./shard-snapshot.ts";

/** What of one shard an answer saw. */
export interface ShardProvenance {
  readonly shard: string;
  readonly version: number;
  readonly appliedThrough: number;
  /** Registered runs that the answer lacks. */
  readonly behind: number;
  /** The first unreadable run, which keeps a fresh answer from the later ones. */
  readonly blockedBy?: BlockedBy;
}

export interface Answer {
  readonly shards: readonly ShardProvenance[];
  readonly warnings: readonly string[];
}

export interface NearestAnswer extends Answer {
  readonly results: readonly NearRecord[];
}

export interface RecordsAnswer extends Answer {
  readonly records: readonly PutRow[];
}

/** An older version: its number where there is one shard, else a number by the name of each shard. */
export type VersionSelection = number | Readonly<Record<string, number>>;

export interface ReadOptions {
  /** Also see the runs that no version holds yet. */
  readonly fresh?: boolean | undefined;
  /** Shards that are not named are read at their newest version. */
  readonly version?: VersionSelection | undefined;
}

export interface ScanOptions extends ReadOptions {
  readonly onShards?: ((shards: readonly ShardProvenance[]) => void) | undefined;
}

export interface RecordSelection extends RecordFilter {
  readonly ids?: readonly string[] | undefined;
  readonly parent?: string | undefined;
  readonly limit?: number | undefined;
}

export class CollectionReader implements Disposable {
  readonly #identity: CollectionIdentity;
  readonly #readers: readonly LayeredShard[];

  constructor(ports: Ports, identity: CollectionIdentity, options: SnapshotOptions) {
    this.#identity = identity;
    this.#readers = shardRefs(identity).map((shard) => {
      const owner: SegmentOwner = { ...shard, vectors: identity.vectors };
      return openLayeredShard(ports, owner, options);
    });
  }

  /** The version asked for of each shard, in order. Throws `invalid` where that is not clear. */
  #versionsOf(version: VersionSelection | undefined): readonly (number | undefined)[] {
    const names = shardRefs(this.#identity).map(({ shard }) => shard);
    if (version === undefined) return [];
    if (typeof version === "number") {
      if (names.length === 1) return [version];
      throw this.#refuse(
        "read",
        `it has ${names.length} shards, each with versions of its own; name one for each, like "${names[0]}=${version}"`,
      );
    }
    const stray = Object.keys(version).find((name) => !names.includes(name));
    if (stray !== undefined) {
      throw this.#refuse("read", `it has no shard "${stray}"; there are ${names.join(", ")}`);
    }
    return names.map((name) => version[name]);
  }

  get #field(): VectorField {
    return this.#identity.vectors[0] as VectorField;
  }

  /** Views of all shards; dispose each. */
  async views(
    options: ReadOptions & Pick<ViewOptions, "searches"> = {},
  ): Promise<readonly ShardView[]> {
    const { fresh, searches } = options;
    const versions = this.#versionsOf(options.version);
    const settled = await Promise.allSettled(
      this.#readers.map((reader, index) =>
        reader.view({ fresh, searches, version: versions[index] }),
      ),
    );
    const views = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const failed = settled.find((one) => one.status === "rejected");
    if (failed === undefined) return views;
    for (const view of views) view[Symbol.dispose]();
    throw failed.reason;
  }

  /** The `k` nearest records, nearest first, equal distances by id. Throws `invalid` for a wrong vector. */
  async nearest(
    vector: Float32Array,
    k: number,
    filter: RecordFilter = {},
    options: ReadOptions = {},
  ): Promise<NearestAnswer> {
    const problem = embeddingProblem(vector, this.#field);
    if (problem !== undefined) throw this.#refuse("query", problem.replace(`"embedding"`, "it"));
    if (!Number.isInteger(k) || k < 1) {
      throw this.#refuse("query", `k is ${k}, expected a whole number from 1`);
    }
    return this.#answer({ ...options, searches: true }, filter, (views) => {
      const all = views.flatMap(({ layers }) => nearestRecords(layers, vector, k, filter));
      const results = all.sort(
        (a, b) => a.distance - b.distance || compareIds(a.record.id, b.record.id),
      );
      return { results: results.slice(0, k) };
    });
  }

  /** Records by id (in the order asked), by parent or by filter (in the order of ids). */
  async records(selection: RecordSelection, options: ReadOptions = {}): Promise<RecordsAnswer> {
    const { limit = Number.POSITIVE_INFINITY } = selection;
    return this.#answer(options, selection, (views) => {
      const records: PutRow[] = [];
      for (const record of this.#select(views, selection)) {
        if (records.length >= limit) break;
        if (matchesFilter(record, selection)) records.push(record);
      }
      return { records };
    });
  }

  /** All records of one version, in the order of ids, in bounded memory; `onShards` hears of which. */
  async *scan(options: ScanOptions = {}): AsyncGenerator<PutRow, void> {
    const views = await this.views(options);
    try {
      options.onShards?.(views.map(provenanceOf));
      yield* mergeById(views.map(({ layers }) => scanRecords(layers)));
    } finally {
      for (const view of views) view[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    for (const reader of this.#readers) reader[Symbol.dispose]();
  }

  *#select(views: readonly ShardView[], { ids, parent }: RecordSelection): Generator<PutRow, void> {
    const layersOf = (shard: string) => views.find((view) => view.shard === shard)?.layers ?? [];
    const { shards } = this.#identity;
    if (ids !== undefined) {
      for (const id of new Set(ids)) {
        const record = resolveRecord(layersOf(shardOf(id, shards)), id);
        if (record !== undefined && (parent === undefined || record.parent === parent)) {
          yield record;
        }
      }
    } else if (parent !== undefined) {
      yield* recordsOfParent(layersOf(shardOfKey(parent, shards)), parent);
    } else yield* mergeById(views.map(({ layers }) => scanRecords(layers)));
  }

  async #answer<T extends object>(
    options: ReadOptions & Pick<ViewOptions, "searches">,
    filter: RecordFilter,
    make: (views: readonly ShardView[]) => T,
  ): Promise<T & Answer> {
    const views = await this.views(options);
    try {
      const made = make(views);
      const layers = views.flatMap((view) => view.layers);
      return {
        ...made,
        shards: views.map(provenanceOf),
        warnings: warningsOf(views, layers, filter),
      };
    } finally {
      for (const view of views) view[Symbol.dispose]();
    }
  }

  #refuse(action: string, problem: string): SiltError {
    return new SiltError("invalid", `Cannot ${action} "${this.#identity.collection}": ${problem}`);
  }
}

function provenanceOf(view: ShardView): ShardProvenance {
  const { shard, version, appliedThrough, behind, blockedBy } = view;
  return { shard, version, appliedThrough, behind, ...(blockedBy && { blockedBy }) };
}

function warningsOf(
  views: readonly ShardView[],
  layers: ShardView["layers"],
  filter: RecordFilter,
): readonly string[] {
  const unknown = unknownWhereKeys(layers, filter).map(
    (key) => `no record has the metadata key "${key}"; is it spelled right?`,
  );
  const blocked = views.flatMap(({ blockedBy }) =>
    blockedBy === undefined
      ? []
      : [`run ${blockedBy.sequence} (${blockedBy.runId}) cannot be read: ${blockedBy.reason}`],
  );
  return [...unknown, ...blocked];
}

/** Several ascending sequences as one. Few, so a linear look at their heads will do. */
function* mergeById(sequences: readonly Generator<PutRow, void>[]): Generator<PutRow, void> {
  const heads = sequences.map((sequence) => ({ sequence, next: sequence.next() }));
  for (;;) {
    let least: (typeof heads)[number] | undefined;
    for (const head of heads) {
      if (head.next.done) continue;
      const best = least?.next.done === false ? least.next.value.id : undefined;
      if (best === undefined || compareIds(head.next.value.id, best) < 0) least = head;
    }
    if (least === undefined || least.next.done) return;
    yield least.next.value;
    least.next = least.sequence.next();
  }
}
