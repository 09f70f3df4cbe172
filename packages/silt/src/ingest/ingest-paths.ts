/**
 * `silt ingest`: pictures of files and folders, or of S3, become records. Steps:
 * 1. check paths and options, before anything is done
 * 2. open or make the collections; count the pictures
 * 3. walk; each picture is looked at, extracted if it has to be, gathered, and registered in a batch
 * 4. with `prune`: what is gone loses its records
 * Killed at any moment, the next run goes on where the last acknowledged batch ended.
 */
import { type Ports, SiltError } from "@silt/core";
import type { ImageFile, ImageRoot, ImageSource } from "./image-source.ts";
import { openImageSources, openRoots } from "./image-sources.ts";
import { type IngestOptions, type IngestReport, WARNINGS_MAX } from "./ingest-report.ts";
import { IngestSession } from "./ingest-session.ts";
import { createIngestTally, type IngestTally } from "./ingest-tally.ts";
import { openTargets } from "./open-targets.ts";
import { planIngest } from "./plan-ingest.ts";
import { checkPrune, goneSources } from "./prune-sources.ts";

export type { IngestOptions, IngestProgress, IngestReport } from "./ingest-report.ts";

const WORKERS_MAX = 64;
/** Sources looked at ahead of those that the threads have in hand. */
const AHEAD = 2;

/**
 * Ingests the pictures of files, folders and `s3://bucket/prefix`. Unchanged ones are skipped; one that
 * can't be read is reported and kept in mind, and does not stop the others. Throws `invalid` for wrong
 * paths before anything is done, `unavailable` when engine, model, disk or store fail: what was
 * acknowledged stays.
 */
export async function ingestPaths(
  ports: Ports,
  paths: readonly string[],
  options: IngestOptions,
): Promise<IngestReport> {
  await using sources = openImageSources();
  return await ingestFrom(ports, sources, paths, options);
}

/** {@link ingestPaths} from the sources given. */
export async function ingestFrom(
  ports: Ports,
  sources: ImageSource,
  paths: readonly string[],
  options: IngestOptions,
): Promise<IngestReport> {
  const { workers = 1, signal, dryRun = false } = options;
  checkWorkers(workers);
  const roots = await openRoots(sources, paths);
  const pruned = options.prune === true ? foldersOf(roots) : [];
  const anyway = options.pruneAnyway === true;
  for (const root of pruned) await checkPrune(ports, sources, root, { anyway });
  const targets = await openTargets(ports, options, { create: !dryRun });
  const tally = createIngestTally({
    total: await countImages(sources, roots, signal),
    warningsMax: WARNINGS_MAX,
    onProgress: options.onProgress,
  });
  if (dryRun) return planIngest(ports, targets, { sources, roots, pruned, options, tally });

  await using session = new IngestSession(ports, targets, sources, {
    workers,
    signal,
    retryFailed: options.retryFailed === true,
    onOutcome: tally.add,
    onRuns: tally.addRuns,
  });
  const files = walked(sources, roots, tally, signal);
  await ingestAll(session, files, { width: workers + AHEAD, signal });
  for (const root of pruned) {
    await checkPrune(ports, sources, root, { anyway });
    await deleteGone(session, goneSources(ports, sources, root), signal);
  }
  return tally.report();
}

function checkWorkers(workers: number): void {
  if (Number.isInteger(workers) && workers >= 1 && workers <= WORKERS_MAX) return;
  throw new SiltError(
    "invalid",
    `Cannot ingest with ${workers} workers: expected a whole number from 1 to ${WORKERS_MAX}`,
  );
}

function foldersOf(roots: readonly ImageRoot[]): readonly ImageRoot[] {
  const folders = roots.filter(({ kind }) => kind === "folder");
  if (folders.length > 0) return folders;
  throw new SiltError(
    "invalid",
    "Cannot prune: only pictures are given, expected a folder whose missing pictures are meant",
  );
}

/** A first, cheap walk: names only. */
async function countImages(
  sources: ImageSource,
  roots: readonly ImageRoot[],
  signal: AbortSignal | undefined,
): Promise<number> {
  let count = 0;
  for await (const _ of sources.walk(roots, { signal, onDenied: () => {} })) count += 1;
  return count;
}

function walked(
  sources: ImageSource,
  roots: readonly ImageRoot[],
  tally: IngestTally,
  signal: AbortSignal | undefined,
): AsyncIterable<ImageFile> {
  return sources.walk(roots, {
    signal,
    onDenied: (folder, message) => tally.warn(folder, `left out: ${message}`),
  });
}

/** So many at a time. What was gathered is registered at the end, however that comes. */
async function ingestAll(
  session: IngestSession,
  files: AsyncIterable<ImageFile>,
  { width, signal }: { readonly width: number; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const running = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  const begin = (file: ImageFile) => {
    const one: Promise<void> = session
      .ingest(file, { mayDelete: false })
      .catch((error) => {
        failure ??= { error };
      })
      .finally(() => running.delete(one));
    running.add(one);
  };
  try {
    for await (const file of files) {
      if (failure !== undefined) break;
      begin(file);
      if (running.size >= width) await Promise.race(running);
    }
  } catch (error) {
    failure ??= { error };
  }
  await Promise.all(running);
  try {
    await session.flush();
  } catch (error) {
    failure ??= { error };
  }
  signal?.throwIfAborted();
  if (failure !== undefined) throw failure.error;
}

async function deleteGone(
  session: IngestSession,
  gone: AsyncIterable<ImageFile>,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    for await (const file of gone) {
      signal?.throwIfAborted();
      await session.ingest(file, { mayDelete: true });
    }
  } finally {
    await session.flush();
  }
}
