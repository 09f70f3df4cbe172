import {
  type CollectionSettings,
  checkCollectionName,
  ensureCollection,
  isSiltError,
  listCollections,
  openCollection,
  readShardStatus,
  reasonOf,
  type ShardStatus,
  SiltError,
  shardRefs,
  type VerifyReport,
  verifyStore,
} from "@silt/core";
import { describeEmbedder } from "@silt/embed";
import { Collection } from "./collection.ts";
import { type CompactReport, compactCollection } from "./compact-store.ts";
import { type ExportReport, type ExportTarget, exportCollection } from "./export-collection.ts";
import { type IngestOptions, type IngestReport, ingestPaths } from "./ingest/ingest-paths.ts";
import { type SourceStatus, sourceStatus } from "./ingest/source-status.ts";
import { type Inspection, inspectTarget } from "./inspect-target.ts";
import {
  listQuarantine,
  type QuarantinedRun,
  type RetryReport,
  retryQuarantined,
} from "./quarantine.ts";
import type { StoreContext } from "./store-context.ts";

/** What a collection is made with; without `dimension` the embedder's own is taken. */
export type CollectionOptions = Omit<CollectionSettings, "dimension"> & {
  readonly dimension?: number;
};

export interface CollectionStatus {
  readonly collection: string;
  readonly dimension: number;
  readonly metric: string;
  readonly embedder: string | null;
  readonly policy: string;
  readonly shards: readonly ShardStatus[];
}

export interface VerifyOptions {
  readonly collections?: readonly string[] | undefined;
  /** Also read every row with a second build of SQLite. */
  readonly deep?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface CompactOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?:
    | ((shard: string, step: string, done: number, total: number) => void)
    | undefined;
}

/** An open store. `openStore` gives one; dispose it when done. */
export class Store implements AsyncDisposable {
  /** The folder. */
  readonly location: string;
  readonly #context: StoreContext;
  readonly #resources: AsyncDisposableStack;
  readonly #collections = new Map<string, Collection>();

  constructor(context: StoreContext, location: string, resources: AsyncDisposableStack) {
    this.#context = context;
    this.location = location;
    this.#resources = resources;
  }

  /** What the parts of this store work with; for tools that need more than this class gives. */
  get context(): StoreContext {
    return this.#context;
  }

  /**
   * Opens a collection; with options it is created when absent. Throws `invalid` when it is absent
   * and no options were given, or when it exists with another identity.
   */
  async collection(name: string, options?: CollectionOptions): Promise<Collection> {
    return (await this.ensureCollection(name, options)).collection;
  }

  /** {@link collection}, and whether it was made by this call. */
  async ensureCollection(
    name: string,
    options?: CollectionOptions,
  ): Promise<{ readonly collection: Collection; readonly created: boolean }> {
    const { ports } = this.#context;
    const opened =
      options === undefined
        ? await openCollection(ports, name)
        : await ensureCollection(ports, name, await settingsOf(name, options));
    if (opened === undefined) throw await this.#unknown(name);
    const created = "created" in opened && opened.created === true;
    const known = this.#collections.get(name);
    const sameStore = known?.identity.storeId === opened.identity.storeId;
    if (known !== undefined && sameStore && !created) {
      known.setPolicy(opened.policy);
      return { collection: known, created };
    }
    known?.[Symbol.dispose]();
    const collection = new Collection(this.#context, opened.identity, opened.policy);
    this.#collections.set(name, collection);
    return { collection, created };
  }

  /** Names of all collections, ascending. */
  collections(): Promise<readonly string[]> {
    return listCollections(this.#context.ports);
  }

  /** Folds everything pending, of one collection or of all. A shard that fails doesn't stop the others. */
  async compact(name?: string, options: CompactOptions = {}): Promise<readonly CompactReport[]> {
    const names = name === undefined ? await this.collections() : [name];
    const { signal, onProgress } = options;
    const reports: CompactReport[] = [];
    for (const each of names) {
      const opened = await openCollection(this.#context.ports, each);
      if (opened === undefined) throw await this.#unknown(each);
      reports.push(
        ...(await compactCollection(this.#context, opened.identity, opened.policy, {
          signal,
          ...(onProgress && {
            onProgress: (shard, step, done, total) =>
              onProgress(`${shard.collection} ${shard.shard}`, step, done, total),
          }),
        })),
      );
    }
    return reports;
  }

  /** How all collections, or one, are doing, shard by shard. */
  async status(name?: string): Promise<readonly CollectionStatus[]> {
    const names = name === undefined ? await this.collections() : [name];
    return Promise.all(names.map((each) => this.#statusOf(each)));
  }

  /** Is this picture applied, pending, failed, unknown? By URI or path. */
  sourceStatus(source: string): Promise<SourceStatus> {
    return sourceStatus(this.#context.ports, source);
  }

  /** Checks everything that can be checked. Damage is reported, never thrown. */
  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    const { collections, deep, signal, onProgress } = options;
    for (const name of collections ?? []) checkCollectionName(name);
    return verifyStore(this.#context.ports, {
      ...(collections && { collections }),
      ...(deep !== undefined && { deep }),
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
    });
  }

  /** Pictures of files and folders become records of `lines`, `words` and `images`. */
  ingest(paths: readonly string[], options: IngestOptions = {}): Promise<IngestReport> {
    return ingestPaths(this.#context.ports, paths, options);
  }

  /** One delta bundle or segment, by file, key or run id. */
  inspect(target: string): Promise<Inspection> {
    return inspectTarget(this.#context.ports, target, this.#context.tempRoot());
  }

  /** Runs that are excluded, with the reasons. */
  quarantined(): Promise<readonly QuarantinedRun[]> {
    return listQuarantine(this.#context.ports);
  }

  /** Submits an excluded run again as a new run, for ids not written since. */
  async retryQuarantined(runId: string): Promise<RetryReport> {
    const found = (await this.quarantined()).find((run) => run.runId === runId);
    if (found === undefined) {
      throw new SiltError(
        "invalid",
        `Cannot retry run "${runId}": it is not in quarantine; "silt quarantine list" names what is`,
      );
    }
    const collection = await this.collection(found.collection);
    return retryQuarantined(this.#context.ports, collection.identity, collection.reader, found);
  }

  /** The newest version of a collection as one stock SQLite file, or as JSON Lines that `put` takes. */
  async export(name: string, target: ExportTarget): Promise<ExportReport> {
    return exportCollection(await this.collection(name), target, this.#context.ports.logger);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const collection of this.#collections.values()) collection[Symbol.dispose]();
    this.#collections.clear();
    await this.#resources.disposeAsync();
  }

  async #statusOf(name: string): Promise<CollectionStatus> {
    const { ports } = this.#context;
    const opened = await openCollection(ports, name);
    if (opened === undefined) throw await this.#unknown(name);
    const { identity, policy } = opened;
    const field = identity.vectors[0];
    const shards = await Promise.all(
      shardRefs(identity).map((shard) => readShardStatus(ports, shard)),
    );
    return {
      collection: name,
      dimension: field?.dimension ?? 0,
      metric: field?.metric ?? "",
      embedder: field?.embedder ?? null,
      policy: policy.compaction.strategy,
      shards,
    };
  }

  async #unknown(name: string): Promise<SiltError> {
    const known = await this.#namesOrNone();
    const list = known.length === 0 ? "there is none yet" : `there are ${known.join(", ")}`;
    return new SiltError(
      "invalid",
      `Cannot open collection "${name}": it does not exist (${list}); create it with "silt init ${name} --dimension D"`,
    );
  }

  async #namesOrNone(): Promise<readonly string[]> {
    try {
      return await this.collections();
    } catch (error) {
      if (!isSiltError(error)) throw error;
      this.#context.ports.logger.log("debug", "collections not listed", { error: reasonOf(error) });
      return [];
    }
  }
}

/** Settings with full embedder id and dimension: the embedder's own when none is given. */
async function settingsOf(name: string, options: CollectionOptions): Promise<CollectionSettings> {
  const { embedder, dimension } = options;
  if (embedder === undefined || embedder === null) {
    if (dimension !== undefined) return { ...options, dimension };
    throw new SiltError(
      "invalid",
      `Cannot create collection "${name}": neither dimension nor embedder is given, expected one of them`,
    );
  }
  const described = await describeEmbedder(embedder);
  if (dimension !== undefined && dimension !== described.dimension) {
    throw new SiltError(
      "invalid",
      `Cannot create collection "${name}" with ${dimension} dimensions: embedder "${described.id}" gives ${described.dimension}`,
    );
  }
  return { ...options, embedder: described.id, dimension: described.dimension };
}
