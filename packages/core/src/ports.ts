/**
 * What the protocol needs from the world. Each port has one contract suite in `@silt/testkit` that
 * every adapter passes. Expected outcomes are return values; failures throw `SiltError`:
 * `unavailable` for the environment (throttled, timed out, disk full, denied), `corrupt` for
 * damage. "Absent" is answered only when the store says so.
 */

import type { DigestSums } from "./digest.ts";
import type { DropRule, MergeAccount } from "./fold.ts";
import type {
  Guard,
  ObjectRef,
  Pin,
  Run,
  SegmentDescriptor,
  VectorField,
  VersionItem,
  VersionRef,
} from "./formats.ts";
import type { RowCounts, SegmentContent } from "./row.ts";

/** One shard of one incarnation of a collection. */
export interface ShardRef {
  readonly collection: string;
  readonly storeId: string;
  /** E.g. `0-of-4`. */
  readonly shard: string;
}

// ---------------------------------------------------------------- object store

/** What to store: bytes, or a closed file that nobody changes any more (it may be linked). */
export type ObjectSource =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "file"; readonly path: string };

export type PutCondition = { readonly ifAbsent: true } | { readonly ifMatch: string };

export type PutOutcome =
  | { readonly outcome: "stored"; readonly etag: string }
  /** `ifAbsent`: the key exists. `ifMatch`: it is absent or has another ETag. Nothing changed. */
  | { readonly outcome: "condition-failed" };

export type GetOutcome =
  | { readonly outcome: "found"; readonly bytes: Uint8Array; readonly etag: string }
  | { readonly outcome: "unchanged" }
  | { readonly outcome: "absent" };

export type ReadOutcome =
  | {
      readonly outcome: "found";
      readonly bytes: number;
      readonly body: AsyncIterable<Uint8Array>;
      /** Where the object lies as a file of this machine, if it does: it may be linked, never changed. */
      readonly file?: string;
    }
  | { readonly outcome: "absent" };

export type HeadOutcome =
  | { readonly outcome: "found"; readonly bytes: number; readonly modifiedAtMs: number }
  | { readonly outcome: "absent" };

export interface ListedObject {
  readonly key: string;
  readonly bytes: number;
  readonly modifiedAtMs: number;
}

export interface ObjectStore {
  /** Stores durably and atomically under the condition. `sha256` is verified on the way. */
  put(
    key: string,
    source: ObjectSource,
    options: { readonly condition: PutCondition; readonly bytes: number; readonly sha256: string },
  ): Promise<PutOutcome>;
  /** A small object, whole; `invalid` when it is over `bytesMax`. */
  get(
    key: string,
    options: { readonly bytesMax: number; readonly ifNoneMatch?: string },
  ): Promise<GetOutcome>;
  /** An object of any size, as a stream that is read once or abandoned. */
  read(key: string): Promise<ReadOutcome>;
  /**
   * Says that these immutable objects will be read soon, once each and in this order, so that a store
   * far away may begin. Dispose it when done; a store that is near has no use for it.
   */
  readAhead?(keys: readonly string[]): Disposable;
  head(key: string): Promise<HeadOutcome>;
  /** Keys under `prefix`, ascending, after `after`, at most `limit` of them. */
  list(
    prefix: string,
    options: { readonly after?: string; readonly limit: number },
  ): Promise<readonly ListedObject[]>;
  /** Names, ascending, of the folders right under `prefix`, which ends in `/`, in which objects lie. */
  listFolders(prefix: string): Promise<readonly string[]>;
  /** Removes an object; an absent one is no error. */
  delete(key: string): Promise<void>;
}

// ---------------------------------------------------------------- run log

/** A shard's log item: the last sequence number given out, and what registrations must respect. */
export interface Head {
  readonly sequence: number;
  readonly runsHash: string;
  /** Run ids below this one are refused: their log items may be gone. */
  readonly floor: string;
  /** The commit that is about to flip an exclusion: conditional deletes wait. Null when there is none. */
  readonly excluding: string | null;
  /** Raised by each exclusion that was resolved. */
  readonly excludeRev: number;
}

export type RunIdState =
  | { readonly state: "absent" }
  | { readonly state: "registered"; readonly sequence: number }
  /** The collector gave the bundle up; its writer must upload under a new run id. */
  | { readonly state: "abandoned" };

export interface ShardAppend {
  readonly shard: ShardRef;
  /** The HEAD that this append was computed from; any other HEAD refuses the transaction. */
  readonly expected: Head;
  /** HEAD afterwards. */
  readonly next: Head;
  /** Consecutive from `expected.sequence + 1`. */
  readonly runs: readonly Run[];
}

export interface GuardKey {
  readonly uri: string;
  readonly family: string;
}

export interface GuardUpdate {
  /** Revision that the guard must still have; 0 = it must not exist. */
  readonly expectedRev: number;
  readonly next: Guard;
}

/** All or nothing. */
export interface LogTransaction {
  readonly appends: readonly ShardAppend[];
  readonly guards: readonly GuardUpdate[];
}

export type CommitOutcome =
  | { readonly outcome: "committed" }
  /** The first condition that failed, checked in this order; nothing was written. */
  | { readonly outcome: "no-head"; readonly shard: ShardRef }
  | { readonly outcome: "run-known"; readonly runId: string; readonly state: RunIdState }
  | { readonly outcome: "below-floor"; readonly runId: string; readonly floor: string }
  | { readonly outcome: "guard-moved"; readonly guard: Guard | undefined }
  | { readonly outcome: "head-moved"; readonly shard: ShardRef; readonly head: Head };

/** The log's monotonic note of what has been flipped. */
export interface Applied {
  readonly version: number;
  readonly appliedThrough: number;
}

/** Names a version; attempts that lost have version numbers of others, but a commit id of their own. */
export interface VersionKey {
  readonly version: number;
  readonly commitId: string;
}

export type PinOutcome = { readonly outcome: "pinned" } | { readonly outcome: "retired" };
export type RetireOutcome = { readonly outcome: "retired" } | { readonly outcome: "pinned" };

/** Something in a log that is not what was written. */
export interface LogDamage {
  /** E.g. `run 12 of lines/<storeId>/0-of-1`, `guard of file:///a.png`. */
  readonly what: string;
  readonly reason: string;
}

export interface RunLog {
  /** Creates HEAD if absent; only the creation of a collection calls it. */
  createShard(shard: ShardRef, head: Head): Promise<"created" | "exists">;
  readHead(shard: ShardRef): Promise<Head | undefined>;
  /** HEADs of several shards at one moment, in the order asked. */
  readHeads(shards: readonly ShardRef[]): Promise<readonly (Head | undefined)[]>;
  commit(transaction: LogTransaction): Promise<CommitOutcome>;
  /** Runs with `sequence > after`, ascending, at most `limit`; consistent. */
  readRuns(
    shard: ShardRef,
    options: { readonly after: number; readonly limit: number },
  ): Promise<readonly Run[]>;
  /** States of several run ids, in the order asked; consistent. Of up to 100 at one moment. */
  readRunIds(
    keys: readonly { readonly shard: ShardRef; readonly runId: string }[],
  ): Promise<readonly RunIdState[]>;
  /** Gives an unregistered run id up for good; answers `registered` when it was registered. */
  abandonRun(shard: ShardRef, runId: string): Promise<"abandoned" | "registered">;
  /** Undefined before the first flip. */
  readApplied(shard: ShardRef): Promise<Applied | undefined>;
  /** Never lowers: a smaller version changes nothing. */
  raiseApplied(shard: ShardRef, applied: Applied): Promise<void>;
  /** Announces that a commit will exclude runs; takes the place of an earlier announcement. */
  announceExclusion(shard: ShardRef, commitId: string): Promise<void>;
  /** Raises `excludeRev` and takes the announcement back if it still is this commit's. */
  resolveExclusion(shard: ShardRef, commitId: string): Promise<void>;
  /** Holds a version for an owner, unless it is retired; the same owner again changes nothing. */
  pinVersion(shard: ShardRef, version: VersionRef, pin: Pin): Promise<PinOutcome>;
  /** An owner that holds nothing is no error. */
  unpinVersion(shard: ShardRef, version: VersionKey, owner: string): Promise<void>;
  /** Gives a version up for good, unless somebody has pinned it. */
  retireVersion(shard: ShardRef, version: VersionKey): Promise<RetireOutcome>;
  /** What is known of versions that were ever pinned or retired: ascending, at most `limit`; consistent. */
  listVersions(
    shard: ShardRef,
    options: { readonly after?: VersionKey; readonly limit: number },
  ): Promise<readonly VersionItem[]>;
  readGuard(key: GuardKey): Promise<Guard | undefined>;
  /** Guards of a family by URI, ascending, after `after`, at most `limit`. */
  listGuards(
    family: string,
    options: { readonly after?: string; readonly limit: number },
  ): Promise<readonly Guard[]>;
  /** The whole log against its own digests. Absent where the service that keeps it has that duty. */
  audit?(): Promise<readonly LogDamage[]>;
}

// ---------------------------------------------------------------- lease

export interface Lease {
  readonly shard: ShardRef;
  readonly holder: string;
  readonly epoch: number;
  readonly expiresAtMs: number;
}

export type AcquireOutcome =
  | { readonly outcome: "acquired"; readonly lease: Lease }
  | { readonly outcome: "held"; readonly by: string; readonly expiresAtMs: number };

/** Saves wasted work; correctness never rests on it. Epochs only rise, also across releases. */
export interface LeaseStore {
  /** Takes a free or expired lease with an epoch above its last one and above `aboveEpoch`. */
  acquire(
    shard: ShardRef,
    options: {
      readonly holder: string;
      readonly ttlMs: number;
      readonly skewMs: number;
      readonly aboveEpoch: number;
    },
  ): Promise<AcquireOutcome>;
  extend(lease: Lease, ttlMs: number): Promise<"extended" | "lost">;
  /** Frees the lease if it is still this one; keeps the epoch. */
  release(lease: Lease): Promise<"released" | "lost">;
  read(shard: ShardRef): Promise<Lease | undefined>;
}

// ---------------------------------------------------------------- hints

/** "Look at this shard": carries no data, may be lost, repeated, late or reordered. */
export interface Hint {
  readonly collection: string;
  readonly storeId: string;
  readonly shard: string;
}

export interface HintQueue {
  send(hint: Hint): Promise<void>;
  /** Takes up to `limit` distinct hints off the queue. */
  receive(limit: number): Promise<readonly Hint[]>;
}

// ---------------------------------------------------------------- segment engine

/** What a bundle or a segment belongs to. */
export interface SegmentOwner extends ShardRef {
  readonly vectors: readonly VectorField[];
}

export interface BuiltDelta {
  readonly source: ObjectSource;
  readonly bytes: number;
  readonly sha256: string;
  readonly rows: RowCounts;
  readonly replaced: number;
}

/** A verified input of a merge; `handle` belongs to the engine that received it. */
export interface MergeInput {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly rows: RowCounts;
  readonly replaced: number;
  readonly sums: DigestSums;
  readonly handle: unknown;
}

export type ReceiveOutcome =
  | { readonly outcome: "sound"; readonly input: MergeInput }
  /** The bytes are what was registered, or not; either way they are no sound bundle or segment. */
  | { readonly outcome: "poison"; readonly reason: string };

export interface MergedSegment {
  readonly source: ObjectSource;
  readonly bytes: number;
  readonly sha256: string;
  readonly rows: RowCounts;
  readonly replaced: number;
  readonly sums: DigestSums;
  readonly account: MergeAccount;
}

export interface MergeOptions {
  /** The contiguous range of runs that the output stands for, excluded ones included. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly rule: DropRule;
  readonly signal?: AbortSignal | undefined;
}

/** A private temporary place; disposing it removes everything it made. */
export interface Workbench extends AsyncDisposable {
  /** Bytes that can still be written here. */
  freeBytes(): Promise<number>;
  buildDelta(
    owner: SegmentOwner,
    draft: {
      readonly runId: string;
      readonly source: string | null;
      readonly content: SegmentContent;
    },
  ): Promise<BuiltDelta>;
  /**
   * Streams a bundle in, checks hash, form, owner, integrity, every row and the sums. `deep` reads
   * every row with a second build of SQLite too.
   */
  receiveDelta(
    owner: SegmentOwner,
    run: Run,
    body: AsyncIterable<Uint8Array>,
    options?: { readonly deep?: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<ReceiveOutcome>;
  /** The rows of a received delta, stamped with its run's sequence number. */
  readDelta(input: MergeInput): Promise<SegmentContent>;
  receiveSegment(
    owner: SegmentOwner,
    descriptor: SegmentDescriptor,
    body: AsyncIterable<Uint8Array>,
  ): Promise<ReceiveOutcome>;
  /**
   * What is wrong with a received segment, row by row, against its descriptor; empty when it is
   * sound. `deep` reads every row with a second build of SQLite too and compares.
   */
  auditSegment(
    owner: SegmentOwner,
    descriptor: SegmentDescriptor,
    input: MergeInput,
    options: { readonly deep: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<readonly string[]>;
  /** Merges adjacent inputs, oldest first, off the event loop; checks integrity and accounts. */
  merge(
    owner: SegmentOwner,
    inputs: readonly MergeInput[],
    options: MergeOptions,
  ): Promise<MergedSegment>;
}

export interface SegmentEngine {
  openWorkbench(): Promise<Workbench>;
}

// ---------------------------------------------------------------- the rest

export interface Clock {
  nowMs(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `action` every `ms` until the returned function is called. */
  every(ms: number, action: () => void): () => void;
}

export interface Random {
  bytes(length: number): Uint8Array;
  /** Uniform in [0, 1). */
  fraction(): number;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface Logger {
  log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface Metrics {
  count(name: string, value: number, dimensions?: Readonly<Record<string, string>>): void;
  gauge(name: string, value: number, dimensions?: Readonly<Record<string, string>>): void;
}

/** Everything the protocol acts through. */
export interface Ports {
  readonly objects: ObjectStore;
  readonly log: RunLog;
  readonly leases: LeaseStore;
  readonly hints: HintQueue;
  readonly engine: SegmentEngine;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What an object reference says, as the options of a put. */
export const putOptionsOf = (
  ref: Pick<ObjectRef, "bytes" | "sha256">,
  condition: PutCondition,
): { condition: PutCondition; bytes: number; sha256: string } => ({
  condition,
  bytes: ref.bytes,
  sha256: ref.sha256,
});
