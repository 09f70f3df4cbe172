import { join } from "node:path";
import {
  checkCollectionName,
  ensureCollection,
  isSiltError,
  listCollections,
  type OpenCollection,
  openCollection,
  type Policy,
  pinVersion,
  reasonOf,
  type ShardRef,
  SiltError,
  unpinVersion,
  updatePolicy,
  type VerifyReport,
  verifyStore,
} from "@silt/core";
import type { VersionSelection } from "@silt/reader";
import { collectCollection, failedGc, type GcOptions, type GcReport } from "./collect-store.ts";
import { Collection } from "./collection.ts";
import { type CollectionOptions, settingsOf } from "./collection-settings.ts";
import { type CollectionStatus, statusOf } from "./collection-status.ts";
import { type CompactReport, compactCollection } from "./compact-store.ts";
import { eachCollection, type Failure } from "./each-collection.ts";
import {
  type ExportOptions,
  type ExportReport,
  type ExportTarget,
  exportCollection,
} from "./export-collection.ts";
import { checkStore } from "./health/check-store.ts";
import type { HealthReport } from "./health/health-report.ts";
import { type IngestOptions, type IngestReport, ingestPaths } from "./ingest/ingest-paths.ts";
import { type SourceStatus, sourceStatus } from "./ingest/source-status.ts";
import { type Inspection, inspectTarget } from "./inspect-target.ts";
import { parseLocation } from "./location.ts";
import {
  listQuarantine,
  type QuarantinedRun,
  type RetryReport,
  retryQuarantined,
} from "./quarantine.ts";
import {
  failedRebuild,
  type RebuildOptions,
  type RebuildReport,
  rebuildCollection,
} from "./rebuild-collection.ts";
import {
  previewRollback,
  type RollbackOptions,
  type RollbackPreview,
  type RollbackReport,
  rollbackCollection,
} from "./rollback-collection.ts";
import { selectShard } from "./select-shard.ts";
import type { StoreContext } from "./store-context.ts";
import type { CompactOptions, PinOptions, PinReport, VerifyOptions } from "./store-options.ts";
import {
  failedSweep,
  STUCK_AFTER_MS,
  type SweepOptions,
  type SweepReport,
  sweepCollection,
} from "./sweep-store.ts";
import { type CollectionVersions, versionsOf } from "./version-report.ts";

const PIN_OWNER = "operator";

/** An open store. `openStore` gives one; dispose it when done. */
export class Store implements AsyncDisposable {
  /** The folder, or `s3://bucket/prefix?table=NAME`. */
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
    const opened = await this.#openAll(name);
    return Promise.all(opened.map((each) => statusOf(this.#context.ports, each)));
  }

  /** Is this picture applied, pending, failed, unknown? By URI or path. */
  sourceStatus(source: string): Promise<SourceStatus> {
    return sourceStatus(this.#context.ports, source);
  }

  /** Checks everything that can be checked. Damage is reported, never thrown. */
  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    const { collections, deep, version, signal, onProgress } = options;
    for (const name of collections ?? []) checkCollectionName(name);
    const versions =
      version === undefined ? undefined : await this.#versionsOf(collections, version);
    return verifyStore(this.#context.ports, {
      ...(collections && { collections }),
      ...(deep !== undefined && { deep }),
      ...(versions && { versions }),
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

  /** The versions that can still be read, pinned and rolled back to, of one collection or of all. */
  async versions(name?: string): Promise<readonly CollectionVersions[]> {
    const { ports } = this.#context;
    const opened = await this.#openAll(name);
    return Promise.all(opened.map(({ identity, policy }) => versionsOf(ports, identity, policy)));
  }

  /**
   * Makes a new version with the content of an old one. The runs between are excluded for good; what is
   * pending still applies. Throws `invalid` for a version that cannot be.
   */
  async rollback(
    name: string,
    version: number,
    options: RollbackOptions = {},
  ): Promise<RollbackReport> {
    const opened = await this.#openExisting(name);
    const shard = selectShard(opened.identity, options.shard);
    return rollbackCollection(this.#context, opened, shard, version, options);
  }

  /** What {@link rollback} would undo, and whose records; changes nothing. */
  async previewRollback(
    name: string,
    version: number,
    options: Pick<RollbackOptions, "shard" | "signal"> = {},
  ): Promise<RollbackPreview> {
    const { identity } = await this.#openExisting(name);
    const shard = selectShard(identity, options.shard);
    return previewRollback(this.#context.ports, shard, version, options.signal);
  }

  /** Holds a version against the collector until {@link unpin}. Throws `invalid` when it is gone. */
  async pin(name: string, version: number, options: PinOptions = {}): Promise<PinReport> {
    const { identity } = await this.#openExisting(name);
    const shard = selectShard(identity, options.shard);
    const { owner = PIN_OWNER, reason = "" } = options;
    await pinVersion(this.#context.ports, shard, version, { owner, reason });
    return { collection: name, shard: shard.shard, version, owner };
  }

  /** Lets a version go. Throws `invalid` when this owner does not hold it. */
  async unpin(
    name: string,
    version: number,
    options: Omit<PinOptions, "reason"> = {},
  ): Promise<PinReport> {
    const { identity } = await this.#openExisting(name);
    const shard = selectShard(identity, options.shard);
    const { owner = PIN_OWNER } = options;
    await unpinVersion(this.#context.ports, shard, version, owner);
    return { collection: name, shard: shard.shard, version, owner };
  }

  /**
   * Plans what nothing needs any more, of one collection or of all; with `delete` what was planned a
   * grace ago goes. A shard that fails doesn't stop the others.
   */
  async gc(
    options: GcOptions & { readonly collection?: string | undefined } = {},
  ): Promise<readonly GcReport[]> {
    const failed = (name: string, failure: Failure) => failedGc(name, null, failure);
    return this.#each(
      options.collection,
      ({ identity }) => collectCollection(this.#context, identity, options),
      failed,
    );
  }

  /**
   * Repairs what was forgotten, and tells what is stuck, of one collection or of all. A shard that
   * fails doesn't stop the others.
   */
  async sweep(options: SweepOptions = {}): Promise<readonly SweepReport[]> {
    const failed = (name: string, failure: Failure) => failedSweep(name, null, failure);
    return this.#each(
      options.collection,
      (opened) => sweepCollection(this.#context, opened, options),
      failed,
    );
  }

  /**
   * Folds the log of one collection or of all from its start, and compares it with the current versions.
   * A shard that fails doesn't stop the others.
   */
  async rebuild(name?: string, options: RebuildOptions = {}): Promise<readonly RebuildReport[]> {
    const failed = (each: string, failure: Failure) => failedRebuild(each, null, failure);
    return this.#each(
      name,
      ({ identity }) => rebuildCollection(this.#context.ports, identity, options),
      failed,
    );
  }

  /** How the store is, on one page; changes nothing. Damage inside of objects is for {@link verify}. */
  async doctor(options: Pick<SweepOptions, "stuckAfterMs" | "signal"> = {}): Promise<HealthReport> {
    const { stuckAfterMs = STUCK_AFTER_MS, signal } = options;
    const { ports, cache, tempRoot } = this.#context;
    const { location } = this;
    const parsed = parseLocation(location);
    return checkStore(ports, {
      location,
      folder: parsed.kind === "folder" ? parsed.path : undefined,
      tempFolder: parsed.kind === "folder" ? join(parsed.path, "tmp") : tempRoot(),
      cacheFolder: cache.folder,
      stuckAfterMs,
      signal,
    });
  }

  /** How a collection is kept. */
  async policy(name: string): Promise<Policy> {
    return (await this.#openExisting(name)).policy;
  }

  /** Changes how a collection is kept, by compare-and-swap. */
  async setPolicy(name: string, change: (policy: Policy) => Policy): Promise<Policy> {
    await this.#openExisting(name);
    const policy = await updatePolicy(this.#context.ports, name, change);
    this.#collections.get(name)?.setPolicy(policy);
    return policy;
  }

  /** One version of a collection as one stock SQLite file, or as JSON Lines that `put` takes. */
  async export(
    name: string,
    target: ExportTarget,
    options: ExportOptions = {},
  ): Promise<ExportReport> {
    const { logger } = this.#context.ports;
    return exportCollection(await this.collection(name), target, logger, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const collection of this.#collections.values()) collection[Symbol.dispose]();
    this.#collections.clear();
    await this.#resources.disposeAsync();
  }

  /** The version to look at of each shard of the one collection that is named. */
  async #versionsOf(
    collections: readonly string[] | undefined,
    version: VersionSelection,
  ): Promise<readonly (readonly [ShardRef, number])[]> {
    const [name, ...others] = collections ?? [];
    if (name === undefined || others.length > 0) {
      throw new SiltError(
        "invalid",
        "Cannot verify a version: versions belong to a collection, name one",
      );
    }
    const { identity } = await this.#openExisting(name);
    if (typeof version === "number") return [[selectShard(identity, undefined), version]];
    return Object.entries(version).map(([shard, one]) => [selectShard(identity, shard), one]);
  }

  async #openExisting(name: string): Promise<OpenCollection> {
    const opened = await openCollection(this.#context.ports, name);
    if (opened === undefined) throw await this.#unknown(name);
    return opened;
  }

  /** Works on one collection, which must be there, or on all of them. */
  async #each<Report>(
    name: string | undefined,
    work: (opened: OpenCollection) => Promise<readonly Report[]>,
    failed: (name: string, failure: Failure) => Report,
  ): Promise<readonly Report[]> {
    const names = name === undefined ? await this.collections() : [name];
    return eachCollection(names, (each) => this.#openExisting(each), work, failed);
  }

  async #openAll(name: string | undefined): Promise<readonly OpenCollection[]> {
    const names = name === undefined ? await this.collections() : [name];
    return Promise.all(names.map((each) => this.#openExisting(each)));
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
