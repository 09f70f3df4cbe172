/** From the name of a source to what has to be registered: guard, then source, then judgement, then extraction. */
import { type Guard, isSiltError, type Ports, reasonOf, SiltError } from "@silt/core";
import { parseSidecar, type Sidecar } from "@silt/embed";
import { canaryGetsThrough } from "./canary-picture.ts";
import type { ExtractPool } from "./extract-pool.ts";
import {
  GONE_STAMP,
  type ImageFile,
  type ImageSource,
  type SidecarRead,
  type SourceRead,
} from "./image-source.ts";
import { judgeSource, type SourceJudgement } from "./judge-source.ts";
import type { IngestTargets } from "./open-targets.ts";
import type { RunStandings } from "./run-standing.ts";
import { extractionOf, type SourceChange } from "./source-change.ts";
import type { SourceOutcome } from "./source-outcome.ts";
import { IMAGE_FAMILY } from "./source-uri.ts";

export interface PrepareContext {
  readonly ports: Ports;
  readonly targets: IngestTargets;
  readonly sources: ImageSource;
  readonly pool: ExtractPool;
  readonly standings: RunStandings;
  readonly retryFailed: boolean;
  readonly signal: AbortSignal | undefined;
}

export interface PrepareOptions {
  /** A file that is not there any more loses its records; else nothing is done about it. */
  readonly mayDelete: boolean;
  /** Asked when a file is gone that may not lose its records: whether these may be taken back. */
  readonly mayUndo?: ((guard: Guard | undefined) => Promise<boolean>) | undefined;
  /** What the same source gave before: an unchanged digest needs no second extraction. */
  readonly earlier?: SourceChange | undefined;
}

export type PreparedSource =
  | {
      readonly prepared: "outcome";
      readonly outcome: SourceOutcome;
      /** That it follows from. */
      readonly guard: Guard | undefined;
    }
  | { readonly prepared: "change"; readonly change: SourceChange };

export interface LookedAt {
  readonly guard: Guard | undefined;
  readonly read: SourceRead;
  /** Undefined when the picture may not be read. */
  readonly judgement: SourceJudgement | undefined;
}

/** Reads the guard, then the source (in this order: a change between them moves the guard), and judges. */
export async function lookAt(
  context: Omit<PrepareContext, "pool">,
  file: ImageFile,
): Promise<LookedAt> {
  const { ports, targets, sources, standings, retryFailed, signal } = context;
  const guard = await ports.log.readGuard({ uri: file.uri, family: IMAGE_FAMILY });
  const read = await sources.read(file.uri, { signal });
  if (read.outcome === "denied") return { guard, read, judgement: undefined };
  const judgement = judgeSource({
    guard,
    digest: read.outcome === "gone" ? null : read.digest,
    pipelineId: targets.pipelineId,
    runsStand: guard === undefined || (await standings.allStand(guard)),
    retryFailed,
  });
  return { guard, read, judgement };
}

/** Why a picture of which the guard is newer than this pipeline stays as it is. */
export function outdatedReason({ uri }: ImageFile, guard: Guard | undefined): string {
  const by = `pipeline "${guard?.pipelineId}"`;
  return `Cannot ingest "${uri}": a newer Silt has ingested it (${by}); upgrade this one`;
}

/** What has to be done about a source. Throws only for what is not the picture's own fault. */
export async function prepareSource(
  context: PrepareContext,
  file: ImageFile,
  options: PrepareOptions,
): Promise<PreparedSource> {
  const source = file.uri;
  const { guard, read, judgement } = await lookAt(context, file);
  const settled = (outcome: SourceOutcome): PreparedSource => ({
    prepared: "outcome",
    outcome,
    guard,
  });
  if (read.outcome === "denied") {
    return settled({ source, outcome: "denied", reason: read.reason });
  }
  switch (judgement?.verdict) {
    case "unchanged":
      return settled({ source, outcome: "unchanged" });
    case "failed-before":
      return settled({ source, outcome: "failed", reason: judgement.reason });
    case "outdated": {
      if (read.outcome === "gone" && !options.mayDelete) break;
      const reason = outdatedReason(file, guard);
      return settled({ source, outcome: "unsettled", reason });
    }
    case "delete": {
      if (!options.mayDelete && (await options.mayUndo?.(guard)) !== true) break;
      const change = { change: "deleted", file, guard, stamp: GONE_STAMP } as const;
      return { prepared: "change", change };
    }
    case "extract": {
      if (read.outcome === "gone") break;
      const change = await extract(context, file, guard, read, options.earlier);
      return { prepared: "change", change };
    }
  }
  return settled({ source, outcome: "nothing" });
}

async function extract(
  context: PrepareContext,
  file: ImageFile,
  guard: Guard | undefined,
  read: Extract<SourceRead, { outcome: "read" | "unfit" }>,
  earlier: SourceChange | undefined,
): Promise<SourceChange> {
  const { digest, stamp } = read;
  const failed = (reason: string): SourceChange => ({
    change: "failed",
    file,
    guard,
    stamp,
    digest,
    reason,
  });
  if (earlier !== undefined && earlier.change !== "deleted" && earlier.digest === digest) {
    return { ...earlier, guard, stamp };
  }
  if (read.outcome === "unfit") return failed(read.reason);
  try {
    const extraction = await extractNow(context, file, read);
    return { change: "ingested", file, guard, stamp, digest, extraction };
  } catch (error) {
    context.signal?.throwIfAborted();
    // Engine, model or disk failed: nothing is said about the picture, unless another one gets through.
    // A picture that takes an engine too long, or crashes it, would end every ingest of its folder, for
    // ever; but where nothing gets through, e.g. for a module is missing, no picture is to blame.
    const { pool, targets } = context;
    const isRefused = isSiltError(error, "invalid");
    if (!isRefused && !(await canaryGetsThrough(pool, targets))) throw environmentOf(error);
    return failed(reasonOf(error));
  }
}

function environmentOf(error: unknown): SiltError {
  if (isSiltError(error, "unavailable")) return error;
  const message = `Cannot ingest: ${reasonOf(error)}; a known picture does not get through either, install again`;
  return new SiltError("unavailable", message, { cause: error });
}

async function extractNow(
  { ports, targets, pool }: PrepareContext,
  file: ImageFile,
  { bytes, sidecar }: Extract<SourceRead, { outcome: "read" }>,
) {
  const start = performance.now();
  const { context, metadata } = readSidecar(sidecar);
  const { pipeline, textEmbedder, imageEmbedder } = targets;
  const image = await pool.extract({
    uri: file.uri,
    bytes,
    ...(context !== undefined && { context }),
    metadata,
    pipeline,
    textEmbedder,
    imageEmbedder,
  });
  const ms = Math.round(performance.now() - start);
  ports.logger.log("debug", "picture extracted", { source: file.uri, ms });
  return extractionOf(targets, image, bytes.byteLength);
}

function readSidecar(sidecar: SidecarRead | undefined): Sidecar {
  if (sidecar === undefined) return { metadata: {} };
  const { name, bytes } = sidecar;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new SiltError("invalid", `Cannot read "${name}": it is not UTF-8`, { cause: error });
  }
  return parseSidecar(name, text);
}
