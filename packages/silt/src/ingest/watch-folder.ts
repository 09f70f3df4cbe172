/**
 * `silt watch`: the upload trigger of one machine. Observe first, then look at everything, so that
 * nothing falls between; then each change is ingested, and after a quiet moment all that is behind
 * is compacted. An event carries only a name: what is to be done follows from guard and file.
 */
import { stat } from "node:fs/promises";
import { hostname } from "node:os";
import {
  type CollectionIdentity,
  isSiltError,
  openCollection,
  type Ports,
  readPointer,
  reasonOf,
  SiltError,
  type SiltErrorKind,
  shardRefs,
} from "@silt/core";
import type { PipelineKind } from "@silt/embed";
import { compactCollection } from "../compact-store.ts";
import { type ChangedPaths, createChangedPaths } from "./changed-paths.ts";
import { folderSource } from "./folder-source.ts";
import type { ImageRoot } from "./image-source.ts";
import { IngestSession } from "./ingest-session.ts";
import { observeFolder } from "./observe-folder.ts";
import { IMAGE_COLLECTIONS, openTargets } from "./open-targets.ts";
import { checkPrune, goneSources } from "./prune-sources.ts";
import type { SourceOutcome } from "./source-outcome.ts";
import { realPathOf } from "./source-uri.ts";
import { imageFile, openRoot, walkImages } from "./walk-images.ts";

export type WatchEvent =
  /** Everything that happened before is dealt with, and nothing from now on is missed. */
  | { readonly event: "ready"; readonly folder: string }
  | {
      readonly event: "ingested";
      readonly source: string;
      readonly lines: number;
      readonly words: number;
      readonly images: number;
    }
  | { readonly event: "unchanged" | "deleted"; readonly source: string }
  /** Without `source`: engine, disk, store or the watching itself; it is tried again. */
  | { readonly event: "failed"; readonly source?: string; readonly reason: string }
  | {
      readonly event: "compacted";
      readonly collection: string;
      readonly shard: string;
      readonly version: number;
      readonly rows: number;
    };

export interface WatchOptions {
  /** Ends the watch; what was gathered is still registered. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: WatchEvent) => void;
  readonly pipeline?: PipelineKind | undefined;
  readonly textEmbedder?: string | undefined;
  readonly imageEmbedder?: string | undefined;
}

/** No change for so long is a quiet moment. */
const QUIET_MS = 500;
/** Even without a quiet moment there is a compaction now and then. */
const ROUNDS_MAX = 50;
/** After trouble everything is looked at again. */
const TROUBLE_PAUSE_MS = 30_000;
const PASSING_KINDS: readonly SiltErrorKind[] = ["unavailable", "conflict"];

interface Watch {
  readonly ports: Ports;
  readonly root: ImageRoot;
  readonly options: WatchOptions;
  readonly session: IngestSession;
  readonly changed: ChangedPaths;
}

/**
 * Ingests what appears, changes or goes in a folder until the signal. Throws `invalid` for what is no
 * folder, `corrupt` for a damaged store, `fenced` when a collection was made anew meanwhile: started again,
 * it finds what is to be done. Other trouble is an event.
 */
export async function watchFolder(
  ports: Ports,
  folder: string,
  options: WatchOptions,
): Promise<void> {
  const { signal, onEvent } = options;
  const root = await openFolder(folder);
  if (signal.aborted) return;
  const targets = await openTargets(ports, options, { create: true });
  const changed = createChangedPaths();
  await using _observing = await observeFolder(root.path, {
    onChange: changed.add,
    onTrouble: (reason) => onEvent({ event: "failed", reason }),
  });
  let isReady = false;
  await using session = new IngestSession(ports, targets, folderSource, {
    workers: 1,
    retryFailed: false,
    signal,
    // At the start most pictures are unchanged, and nobody asked about them.
    onOutcome: (outcome) => {
      if (isReady || outcome.outcome !== "unchanged") tell(outcome, onEvent);
    },
  });
  const watch: Watch = { ports, root, options, session, changed };
  let lookedAtAll = false;
  while (!signal.aborted) {
    lookedAtAll = await attempt(watch, () => (lookedAtAll ? takeChanges(watch) : lookAtAll(watch)));
    if (!lookedAtAll) await ports.clock.sleep(TROUBLE_PAUSE_MS, signal).catch(() => {});
    else if (!isReady && !signal.aborted) {
      isReady = true;
      onEvent({ event: "ready", folder: root.path });
    }
    if (lookedAtAll) await changed.waiting(signal);
  }
  await session.flush().catch((error) => {
    // What was not settled by then is found when everything is looked at again.
    if (error !== signal.reason) throw error;
  });
}

async function openFolder(folder: string): Promise<ImageRoot> {
  const root = await openRoot(folder);
  if (root.kind === "folder") return root;
  throw new SiltError("invalid", `Cannot watch "${folder}": it is a file, expected a folder`);
}

/** False when trouble that passes came up: then everything has to be looked at again. */
async function attempt(
  { options: { signal, onEvent } }: Watch,
  work: () => Promise<void>,
): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (signal.aborted) return true;
    if (!isSiltError(error) || !PASSING_KINDS.includes(error.kind)) throw error;
    onEvent({ event: "failed", reason: reasonOf(error) });
    return false;
  }
}

/** What changed or went while nobody watched. */
async function lookAtAll(watch: Watch): Promise<void> {
  const { ports, root, session, options } = watch;
  const { signal, onEvent } = options;
  const onDenied = (folder: string, reason: string) =>
    onEvent({ event: "failed", reason: `Cannot look into "${folder}": ${reason}` });
  for await (const file of walkImages([root], { signal, onDenied })) {
    await session.ingest(file, { mayDelete: false });
  }
  try {
    await checkPrune(ports, folderSource, root, { anyway: false });
    for await (const file of goneSources(ports, folderSource, root)) {
      await session.ingest(file, { mayDelete: true });
    }
  } catch (error) {
    if (!isSiltError(error, "invalid")) throw error;
    onEvent({ event: "failed", reason: error.message });
  }
  await settle(watch);
}

/** Takes changes as they come, until a quiet moment. */
async function takeChanges(watch: Watch): Promise<void> {
  const { root, session, changed, options } = watch;
  for (let round = 1; round <= ROUNDS_MAX; round++) {
    for (const path of changed.take()) {
      options.signal.throwIfAborted();
      // With the whole folder gone, nothing is known of what was in it.
      const mayDelete = await isFolder(root.path);
      await session.ingest(imageFile(await realPathOf(path), root.path), { mayDelete });
    }
    if (await pause(watch, QUIET_MS)) break;
  }
  await settle(watch);
}

/** Registers what was gathered, and compacts every shard that is behind. */
async function settle({ ports, session, options }: Watch): Promise<void> {
  const { signal, onEvent } = options;
  await session.flush();
  const context = { ports, holder: `${hostname()}/${process.pid}` };
  for (const name of IMAGE_COLLECTIONS) {
    const opened = await openCollection(ports, name);
    if (opened === undefined || !(await isBehind(ports, opened.identity))) continue;
    const { identity, policy } = opened;
    for (const report of await compactCollection(context, identity, policy, { signal })) {
      const { collection, shard, version, rowsOut: rows } = report;
      if (report.outcome === "flipped") {
        onEvent({ event: "compacted", collection, shard, version, rows });
      }
      if (report.error === undefined) continue;
      const reason = `Cannot compact "${collection}" ${shard}: ${report.error.message}`;
      onEvent({ event: "failed", reason });
    }
  }
}

async function isBehind(ports: Ports, identity: CollectionIdentity): Promise<boolean> {
  for (const shard of shardRefs(identity)) {
    const { pointer } = await readPointer(ports.objects, shard);
    const head = await ports.log.readHead(shard);
    if ((head?.sequence ?? 0) > pointer.appliedThrough) return true;
  }
  return false;
}

/** True when the time passed and nothing changed. */
async function pause({ ports, changed, options: { signal } }: Watch, ms: number): Promise<boolean> {
  const waking = new AbortController();
  const sleeping = ports.clock.sleep(ms, waking.signal).then(
    () => true,
    () => false,
  );
  const waiting = changed.waiting(signal).then(() => false);
  const quiet = await Promise.race([sleeping, waiting]);
  waking.abort();
  return quiet;
}

async function isFolder(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  return info?.isDirectory() === true;
}

function tell(outcome: SourceOutcome, onEvent: WatchOptions["onEvent"]): void {
  const { source } = outcome;
  switch (outcome.outcome) {
    case "ingested":
      onEvent({ event: "ingested", source, ...outcome.records });
      break;
    case "failed":
    case "denied":
    case "unsettled":
      onEvent({ event: "failed", source, reason: outcome.reason });
      break;
    case "unchanged":
    case "deleted":
      onEvent({ event: outcome.outcome, source });
  }
}
