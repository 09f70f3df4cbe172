/**
 * Reading one shard: exactly one version, plus, when asked, the runs registered after it.
 * 1. pointer, by a conditional GET; 2. on change the manifest and the segments that are not cached;
 * 3. HEAD, so that each answer says what it lacks; 4. for a fresh read the pending runs, in order.
 * A version that is collected meanwhile, or an unreadable run, sends us back to 1, a bounded number
 * of times (I5).
 */
import {
  checkBelongTogether,
  checkChain,
  type Head,
  type Metric,
  type Ports,
  type ReadPointer,
  readPointer,
  type SegmentOwner,
  SiltError,
  shardPartition,
} from "@silt/core";
import type { Layer } from "./layer.ts";
import {
  type BlockedBy,
  emptyOverlay,
  extendOverlay,
  OVERLAY_LIMITS,
  type PendingOverlay,
} from "./pending-overlay.ts";
import { openSnapshot, type ShardSnapshot, type SnapshotOptions } from "./shard-snapshot.ts";

const REFRESHES_MAX = 5;
const RUNS_PAGE = 1_000;

/** What one answer is made from. Dispose it when the answer is complete. */
export interface ShardView extends Disposable {
  readonly shard: string;
  readonly version: number;
  readonly commitId: string;
  readonly appliedThrough: number;
  /** The log when the view was taken; a conditional write is decided by it. */
  readonly head: Head;
  /** Registered runs that the view lacks. */
  readonly behind: number;
  readonly blockedBy: BlockedBy | undefined;
  readonly snapshot: ShardSnapshot;
  /** Oldest first. */
  readonly layers: readonly Layer[];
}

export interface ViewOptions {
  /** Also see the runs that no version holds yet. */
  readonly fresh?: boolean | undefined;
  /** Vectors will be needed. */
  readonly searches?: boolean | undefined;
}

export class ShardReader implements Disposable {
  readonly #ports: Ports;
  readonly #owner: SegmentOwner;
  readonly #options: SnapshotOptions;
  #current: { readonly read: ReadPointer; readonly snapshot: ShardSnapshot } | undefined;
  #releaseCurrent: (() => void) | undefined;
  #overlay: PendingOverlay | undefined;
  /** Views are taken one after the other; answers are given from them at any time. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(ports: Ports, owner: SegmentOwner, options: SnapshotOptions) {
    this.#ports = ports;
    this.#owner = owner;
    this.#options = options;
  }

  /** The newest version, and with `fresh` also the pending runs. Throws `corrupt` when parts are lost. */
  view(options: ViewOptions = {}): Promise<ShardView> {
    const view = this.#queue.then(() => this.#view(options));
    this.#queue = view.catch(() => {});
    return view;
  }

  [Symbol.dispose](): void {
    this.#releaseCurrent?.();
    this.#releaseCurrent = undefined;
    this.#current = undefined;
  }

  async #view({ fresh, searches }: ViewOptions): Promise<ShardView> {
    let blocked: { readonly commitId: string; readonly sequence: number } | undefined;
    for (let attempt = 1; attempt <= REFRESHES_MAX; attempt++) {
      const snapshot = await this.#refresh(searches === true);
      if (snapshot === undefined) continue;
      const { pointer } = snapshot;
      const head = await this.#readHead(snapshot);
      if (fresh !== true) return this.#viewOf(snapshot, head, undefined);
      const overlay = await this.#overlayOf(snapshot, head);
      const { blockedBy } = overlay;
      const sameAgain =
        blocked?.commitId === pointer.commitId && blocked.sequence === blockedBy?.sequence;
      // A run that became unreadable may have been applied meanwhile: look at the pointer again.
      if (blockedBy === undefined || sameAgain) return this.#viewOf(snapshot, head, overlay);
      blocked = { commitId: pointer.commitId, sequence: blockedBy.sequence };
    }
    throw new SiltError(
      "corrupt",
      `Cannot read "${shardPartition(this.#owner)}": its current version is incomplete; run "silt verify"`,
    );
  }

  /** The current version, opened anew when the pointer moved; undefined when parts of it are gone. */
  async #refresh(searches: boolean): Promise<ShardSnapshot | undefined> {
    const current = this.#current;
    const read = await readPointer(this.#ports.objects, this.#owner, current?.read.etag);
    if (read === undefined) return current?.snapshot;
    const snapshot = await openSnapshot(this.#ports, read.pointer, {
      ...this.#options,
      searches,
    });
    if (snapshot === undefined) return undefined;
    this.#releaseCurrent?.();
    this.#releaseCurrent = snapshot.retain();
    this.#current = { read, snapshot };
    return snapshot;
  }

  async #readHead({ pointer }: ShardSnapshot): Promise<Head> {
    const head = await this.#ports.log.readHead(this.#owner);
    checkBelongTogether(this.#owner, pointer, head, 0);
    return head;
  }

  /** Pending runs up to `head`, added to what earlier reads of the same version have folded. */
  async #overlayOf({ pointer, manifest }: ShardSnapshot, head: Head): Promise<PendingOverlay> {
    let overlay = this.#overlay;
    if (overlay?.baseCommitId !== pointer.commitId || overlay.blockedBy !== undefined) {
      overlay = emptyOverlay(pointer.commitId, pointer.appliedThrough);
    }
    // What fails half way has changed the buffer.
    this.#overlay = undefined;
    const metric = manifest.vectors[0]?.metric as Metric;
    while (overlay.through < head.sequence && overlay.blockedBy === undefined) {
      const runs = await this.#ports.log.readRuns(this.#owner, {
        after: overlay.through,
        limit: Math.min(RUNS_PAGE, head.sequence - overlay.through),
      });
      const base = overlay.through === pointer.appliedThrough;
      if (base) checkChain(this.#owner, pointer, head, runs);
      if (runs[0]?.sequence !== overlay.through + 1) throw gapAfter(this.#owner, overlay.through);
      overlay = await extendOverlay(
        this.#ports,
        this.#owner,
        overlay,
        runs,
        metric,
        OVERLAY_LIMITS,
      );
    }
    this.#overlay = overlay;
    return overlay;
  }

  #viewOf(snapshot: ShardSnapshot, head: Head, overlay: PendingOverlay | undefined): ShardView {
    const { version, commitId, appliedThrough, shard } = snapshot.pointer;
    const above = overlay?.layer === undefined ? [] : [overlay.layer];
    return {
      shard,
      version,
      commitId,
      appliedThrough,
      head,
      behind: Math.max(0, head.sequence - (overlay?.through ?? appliedThrough)),
      blockedBy: overlay?.blockedBy,
      snapshot,
      layers: [...snapshot.layers, ...above],
      [Symbol.dispose]: snapshot.retain(),
    };
  }
}

function gapAfter(owner: SegmentOwner, sequence: number): SiltError {
  return new SiltError(
    "corrupt",
    `Cannot read the log of "${shardPartition(owner)}": run ${sequence + 1} is missing; run "silt verify"`,
  );
}
