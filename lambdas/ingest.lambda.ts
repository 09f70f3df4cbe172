/**
 * Uploads, by way of a queue. An event carries only a name: guard, source, judgement, registration are the
 * session's, so that repeated, late and reordered events are harmless.
 *  1. read the messages; the same object several times is one
 *  2. each picture is looked at, extracted if it has to be, and registered in a batch
 *  3. messages with a source that has no durable outcome fail, and come again
 */
import { createAwsClients, createS3SourceBucket } from "@silt/aws";
import { isSiltError, type Logger, reasonOf } from "@silt/core";
import type { Context, SQSBatchResponse, SQSEvent } from "aws-lambda";
import {
  createExtractPool,
  createImageSources,
  createS3Source,
  type ExtractPool,
  type ImageFile,
  type ImageSource,
  IngestSession,
  type IngestTargets,
  isImageKey,
  openTargets,
  type SourceOutcome,
  type Store,
  s3Uri,
} from "../packages/silt/src/serverless.ts";
import { deadlineOf } from "./deadline.ts";
import type { Env } from "./env.ts";
import { openEnvStore } from "./open-env-store.ts";
import { parseS3Event } from "./s3-event.ts";
import { type Handle, lambda, once, type Wiring } from "./wiring.ts";

export interface IngestWiring extends Pick<Wiring, "logger" | "metrics"> {
  readonly env: Pick<Env, "textEmbedder" | "imageEmbedder" | "pipeline" | "marginMs">;
  readonly store: () => Promise<Store>;
  readonly sources: ImageSource;
}

/** Of memory that comes with one more core. */
const CORE_MB = 1_769;
const WORKERS_MAX = 4;
/** Sources read ahead of those that the threads have in hand. */
const AHEAD = 1;

/** Outcomes after which a message must come again; undefined: none was told. */
const NOT_DURABLE: readonly (SourceOutcome["outcome"] | undefined)[] = [
  undefined,
  "denied",
  "unsettled",
];

interface Uploads {
  /** By URI. */
  readonly files: ReadonlyMap<string, ImageFile>;
  /** URIs by message; undefined for a message that is no S3 event. */
  readonly messages: ReadonlyMap<string, readonly string[] | undefined>;
  readonly ignored: number;
}

export function createIngestHandler(wiring: IngestWiring): Handle<SQSEvent, SQSBatchResponse> {
  const { logger, metrics } = wiring;
  const container = new IngestContainer(wiring);
  return async (event, context) => {
    const uploads = readUploads(event, logger);
    const settled = new Map<string, SourceOutcome>();
    if (uploads.files.size > 0) await container.ingest(uploads.files, context, settled);
    const done = (uri: string) => settled.get(uri)?.outcome;
    const count = (outcome: string) =>
      [...settled.values()].filter((each) => each.outcome === outcome).length;
    const failed = [...uploads.messages].filter(
      ([, uris]) => uris === undefined || uris.some((uri) => NOT_DURABLE.includes(done(uri))),
    );
    if (count("failed") > 0) metrics.count("FailedPictures", count("failed"));
    if (count("ingested") > 0) metrics.count("IngestedPictures", count("ingested"));
    const { ignored } = uploads;
    const told = { ingested: count("ingested"), unchanged: count("unchanged") };
    const also = { deleted: count("deleted"), failed: count("failed"), ignored };
    logger.log("info", "uploads", { ...told, ...also, messagesFailed: failed.length });
    return { batchItemFailures: failed.map(([itemIdentifier]) => ({ itemIdentifier })) };
  };
}

function readUploads({ Records }: SQSEvent, logger: Logger): Uploads {
  const files = new Map<string, ImageFile>();
  const messages = new Map<string, readonly string[] | undefined>();
  let ignored = 0;
  for (const { messageId, body } of Records) {
    const objects = parseS3Event(body);
    if (objects === undefined) {
      logger.log("error", "message is no S3 event", { messageId });
      messages.set(messageId, undefined);
      continue;
    }
    const pictures = objects.filter(({ key }) => isImageKey(key));
    ignored += objects.length - pictures.length;
    for (const { bucket, key } of pictures) {
      const uri = s3Uri(bucket, key);
      files.set(uri, { uri, root: `s3://${bucket}` });
    }
    const uris = pictures.map(({ bucket, key }) => s3Uri(bucket, key));
    messages.set(messageId, uris);
  }
  return { files, messages, ignored };
}

/** What stays from one invocation to the next: collections and loaded models, until something fails. */
class IngestContainer {
  readonly #wiring: IngestWiring;
  #pool: ExtractPool | undefined;
  #targets: IngestTargets | undefined;

  constructor(wiring: IngestWiring) {
    this.#wiring = wiring;
  }

  /** Ingests what it can before the deadline. Throws when nothing could be begun. */
  async ingest(
    files: ReadonlyMap<string, ImageFile>,
    context: Context,
    settled: Map<string, SourceOutcome>,
  ): Promise<void> {
    const { env, logger, sources } = this.#wiring;
    using deadline = deadlineOf(context, env.marginMs);
    const { signal } = deadline;
    const { ports } = (await this.#wiring.store()).context;
    this.#targets ??= await openTargets(ports, env, { create: true });
    const cores = Math.floor(Number(context.memoryLimitInMB) / CORE_MB) || 1;
    const workers = Math.max(1, Math.min(WORKERS_MAX, cores));
    const pool = this.#pool ?? createExtractPool({ workers });
    this.#pool = pool;
    const end = () => void pool[Symbol.asyncDispose]();
    signal.addEventListener("abort", end, { once: true });
    const onOutcome = (outcome: SourceOutcome) => {
      settled.set(outcome.source, outcome);
      if (!("reason" in outcome)) return;
      const { source, reason } = outcome;
      const level = outcome.outcome === "failed" ? "warn" : "error";
      logger.log(level, `picture ${outcome.outcome}`, { source, reason });
    };
    await using session = new IngestSession(ports, this.#targets, sources, {
      workers,
      pool,
      signal,
      retryFailed: false,
      onOutcome,
    });
    const work = ingestAll(session, [...files.values()], workers + AHEAD, { signal, logger });
    // A registration that hangs may still end well, after our answer: then its message does nothing.
    const isWell = await Promise.race([work, deadline.lastCall.then(() => false)]);
    signal.removeEventListener("abort", end);
    this.#targets = session.targets;
    if (isWell && !signal.aborted) return;
    this.#pool = undefined;
    this.#targets = undefined;
    await pool[Symbol.asyncDispose]();
  }
}

/** So many at a time. False when one of them could not be settled; that does not stop the others. */
async function ingestAll(
  session: IngestSession,
  files: readonly ImageFile[],
  width: number,
  { signal, logger }: { readonly signal: AbortSignal; readonly logger: Logger },
): Promise<boolean> {
  let isWell = true;
  const attempt = async (source: string | undefined, work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      isWell = false;
      if (signal.aborted) return;
      const kind = isSiltError(error) ? error.kind : "internal";
      logger.log("error", reasonOf(error), { kind, source });
    }
  };
  const waiting = files.values();
  const take = async () => {
    for (const file of waiting) {
      if (signal.aborted) return;
      await attempt(file.uri, () => session.ingest(file, { mayDelete: true }));
    }
  };
  await Promise.all(Array.from({ length: width }, take));
  await attempt(undefined, () => session.flush());
  return isWell;
}

export const handler = lambda<SQSEvent, SQSBatchResponse>((wiring) => {
  const clients = createAwsClients();
  wiring.instrument(clients);
  const sources = createImageSources(
    createS3Source(async (name) => createS3SourceBucket(clients.s3, name)),
  );
  const store = once(() => openEnvStore(wiring.env, wiring, { create: true }));
  return createIngestHandler({ ...wiring, store, sources });
});
