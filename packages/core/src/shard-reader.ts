/**
 * Reading one shard: exactly one version, plus, when asked, the runs registered after it.
 * 1. pointer, by a conditional GET; 2. on change the manifest and the segments that are not cached;
 * 3. HEAD, so that each answer says what it lacks; 4. for a fresh read the pending runs, in order.
 * A version that is collected meanwhile, or an unreadable run, sends us back to 1, a bounded number
 * of times (I5).
 */
import type { SnapshotManifest } from "./formats.ts";
import { findVersion, readHistory } from "./history.ts";
import { shardPartition } from "./object-keys.ts";
import {
  type BlockedBy,
  emptyOverlay,
  extendOverlay,
  type PendingOverlay,
} from "./pending-overlay.ts";
import type { Applied, Head, Ports, SegmentOwner, ShardRef } from "./ports.ts";
import type { SegmentContent } from "./row.ts";
import { checkBelongTogether, checkChain } from "./shard-state.ts";
import { SiltError } from "./silt-error.ts";
import { findManifest, type ReadPointer, readPointer } from "./snapshot-pointer.ts";

const REFRESHES_MAX = 5;
const RUNS_PAGE = 1_000;

/** One version, open for reading, however its segments are held. */
export interface OpenVersion {
  readonly manifest: SnapshotManifest;
  /** Counts one more user; each user calls the returned function once. The last one closes it. */
  retain(): () => void;
}

/** What one answer is made from. Dispose it when the answer is complete. */
export interface VersionView<V extends OpenVersion> extends Disposable {
  readonly shard: string;
  readonly version: number;
  readonly commitId: string;
  readonly appliedThrough: number;
  /** The log when the view was taken; a conditional write is decided by it. */
  readonly head: Head;
  /** Registered runs that the view lacks. */
  readonly behind: number;
  readonly blockedBy: BlockedBy | undefined;
  readonly snapshot: V;
  /** The pending runs, folded; undefined unless the view is fresh and there are some. */
  readonly overlay: SegmentContent | undefined;
}

export interface ViewOptions {
  /** Also see the runs that no version holds yet. */
  readonly fresh?: boolean | undefined;
  /** An older version instead of the newest. */
  readonly version?: number | undefined;
  /** Vectors will be needed. */
  readonly searches?: boolean | undefined;
}

export interface ShardReaderOptions<V extends OpenVersion> {
  /** Opens a version; undefined when a part of it is gone, which a newer pointer may explain. */
  readonly open: (
    manifest: SnapshotManifest,
    options: { readonly searches: boolean },
  ) => Promise<V | undefined>;
}

/**
 * True when a view's version is still the current one: then it was when the view read HEAD, and a write that is
 * conditional on that HEAD meets every exclusion that the view does not know (rule 7). A view reads the pointer
 * before HEAD, so that an exclusion that was flipped and resolved between the two is in HEAD alone.
 */
export async function isStillCurrent(
  { objects }: Pick<Ports, "objects">,
  shard: ShardRef,
  { commitId }: Pick<VersionView<OpenVersion>, "commitId">,
): Promise<boolean> {
  return (await readPointer(objects, shard)).pointer.commitId === commitId;
}

export class ShardReader<V extends OpenVersion> implements Disposable {
  readonly #ports: Ports;
  readonly #owner: SegmentOwner;
  readonly #open: ShardReaderOptions<V>["open"];
  #current: { readonly read: ReadPointer; readonly snapshot: V } | undefined;
  #releaseCurrent: (() => void) | undefined;
  #overlay: PendingOverlay | undefined;
  /** Views are taken one after the other; answers are given from them at any time. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(ports: Ports, owner: SegmentOwner, { open }: ShardReaderOptions<V>) {
    this.#ports = ports;
    this.#owner = owner;
    this.#open = open;
  }

  /**
   * The newest version, and with `fresh` also the pending runs; or the version asked for. Throws
   * `corrupt` when parts are lost, `invalid` when there is no such version (any more).
   */
  view(options: ViewOptions = {}): Promise<VersionView<V>> {
    const { version } = options;
    const take = () =>
      version === undefined ? this.#view(options) : this.#viewOld(version, options);
    const view = this.#queue.then(take);
    this.#queue = view.catch(() => {});
    return view;
  }

  [Symbol.dispose](): void {
    this.#releaseCurrent?.();
    this.#releaseCurrent = undefined;
    this.#current = undefined;
  }

  async #view({ fresh, searches }: ViewOptions): Promise<VersionView<V>> {
    let blocked: { readonly commitId: string; readonly sequence: number } | undefined;
    for (let attempt = 1; attempt <= REFRESHES_MAX; attempt++) {
      // Before the pointer: any other order reports a false "old pointer".
      const applied = await this.#ports.log.readApplied(this.#owner);
      const current = await this.#refresh(searches === true);
      if (current === undefined) continue;
      const { pointer } = current.read;
      const head = await this.#readHead(current.read, applied);
      if (fresh !== true) return this.#viewOf(current.snapshot, head, undefined);
      const overlay = await this.#overlayOf(current.read, head);
      const { blockedBy } = overlay;
      const sameAgain =
        blocked?.commitId === pointer.commitId && blocked.sequence === blockedBy?.sequence;
      // A run that became unreadable may have been applied meanwhile: look at the pointer again.
      if (blockedBy === undefined || sameAgain) {
        return this.#viewOf(current.snapshot, head, overlay);
      }
      blocked = { commitId: pointer.commitId, sequence: blockedBy.sequence };
    }
    throw new SiltError(
      "corrupt",
      `Cannot read "${shardPartition(this.#owner)}": its current version is incomplete; run "silt verify"`,
    );
  }

  /** A version of the history, opened for this view alone. */
  async #viewOld(version: number, { fresh, searches }: ViewOptions): Promise<VersionView<V>> {
    if (fresh === true) {
      throw new SiltError(
        "invalid",
        `Cannot read version ${version} of "${this.#owner.collection}" fresh: what is pending follows the newest version alone`,
      );
    }
    for (let attempt = 1; attempt <= REFRESHES_MAX; attempt++) {
      const applied = await this.#ports.log.readApplied(this.#owner);
      const history = await readHistory(this.#ports, this.#owner);
      const { manifest } = findVersion(this.#owner, history, version);
      const head = await this.#readHead(history.read, applied);
      const snapshot = await this.#open(manifest, { searches: searches === true });
      if (snapshot !== undefined) return this.#viewOf(snapshot, head, undefined);
    }
    throw new SiltError(
      "corrupt",
      `Cannot read version ${version} of "${shardPartition(this.#owner)}": it is incomplete; run "silt verify"`,
    );
  }

  /** The current version, opened anew when the pointer moved; undefined when parts of it are gone. */
  async #refresh(
    searches: boolean,
  ): Promise<{ readonly read: ReadPointer; readonly snapshot: V } | undefined> {
    const read = await readPointer(this.#ports.objects, this.#owner, this.#current?.read.etag);
    if (read === undefined) return this.#current;
    const manifest = await findManifest(this.#ports.objects, read.pointer);
    const snapshot = manifest && (await this.#open(manifest, { searches }));
    if (snapshot === undefined) return undefined;
    this.#releaseCurrent?.();
    this.#releaseCurrent = snapshot.retain();
    this.#current = { read, snapshot };
    return this.#current;
  }

  /** An old pointer that was put back is no answer: what it lacks may be a rollback. */
  async #readHead({ pointer }: ReadPointer, applied: Applied | undefined): Promise<Head> {
    const head = await this.#ports.log.readHead(this.#owner);
    checkBelongTogether(this.#owner, pointer, head, applied?.version ?? 0);
    return head;
  }

  /** Pending runs up to `head`, added to what earlier reads of the same version have folded. */
  async #overlayOf({ pointer }: ReadPointer, head: Head): Promise<PendingOverlay> {
    let overlay = this.#overlay;
    if (overlay?.baseCommitId !== pointer.commitId || overlay.blockedBy !== undefined) {
      overlay = emptyOverlay(pointer.commitId, pointer.appliedThrough);
    }
    // What fails half way has changed the buffer.
    this.#overlay = undefined;
    while (overlay.through < head.sequence && overlay.blockedBy === undefined) {
      const runs = await this.#ports.log.readRuns(this.#owner, {
        after: overlay.through,
        limit: Math.min(RUNS_PAGE, head.sequence - overlay.through),
      });
      const base = overlay.through === pointer.appliedThrough;
      if (base) checkChain(this.#owner, pointer, head, runs);
      if (runs[0]?.sequence !== overlay.through + 1) throw gapAfter(this.#owner, overlay.through);
      overlay = await extendOverlay(this.#ports, this.#owner, overlay, runs);
    }
    this.#overlay = overlay;
    return overlay;
  }

  #viewOf(snapshot: V, head: Head, overlay: PendingOverlay | undefined): VersionView<V> {
    const { version, commitId, appliedThrough, shard } = snapshot.manifest;
    return {
      shard,
      version,
      commitId,
      appliedThrough,
      head,
      behind: Math.max(0, head.sequence - (overlay?.through ?? appliedThrough)),
      blockedBy: overlay?.blockedBy,
      snapshot,
      overlay: overlay?.content,
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
