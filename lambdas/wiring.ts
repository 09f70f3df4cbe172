/** What every function has: its environment, and where logs, metrics and traces go. Made once a container. */
import { Logger as PowerLogger } from "@aws-lambda-powertools/logger";
import { MetricUnit, Metrics as PowerMetrics } from "@aws-lambda-powertools/metrics";
import type { Tracer } from "@aws-lambda-powertools/tracer";
import { type AwsClients, meterRequests } from "@silt/aws";
import { isSiltError, type Logger, type Metrics, reasonOf } from "@silt/core";
import type { Context } from "aws-lambda";
import { type Env, readEnv } from "./env.ts";
import { UsageTally } from "./usage-tally.ts";

/** What every handler is made from. */
export interface Wiring {
  readonly env: Env;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Counts the calls of clients, and makes them parts of the trace where there is one. */
  readonly instrument: (clients: AwsClients) => void;
}

export type Handle<Event, Result> = (event: Event, context: Context) => Promise<Result>;

const NAMESPACE = "Silt";

/** Opens at the first call, and again only after a failure. */
export function once<T>(open: () => Promise<T>): () => Promise<T> {
  let opened: Promise<T> | undefined;
  return () => {
    opened ??= open().catch((error) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
}

/**
 * The entry that Lambda calls. What it needs is made at the first invocation, so that a wrong
 * environment is a failure with a reason. Failures are logged here, once, and thrown on.
 */
export function lambda<Event, Result>(
  create: (wiring: Wiring) => Handle<Event, Result>,
): Handle<Event, Result> {
  const powerLogger = new PowerLogger();
  const logger = loggerOf(powerLogger);
  const powerMetrics = new PowerMetrics({ namespace: NAMESPACE });
  const usage = new UsageTally();
  const wire = once(async () => {
    const env = readEnv();
    const metrics = metricsOf(powerMetrics);
    const tracer = env.isTraced ? await openTracer() : undefined;
    const instrument: Wiring["instrument"] = (clients) => {
      meterRequests(clients, usage.add);
      for (const each of [clients.s3, clients.dynamo, clients.sqs])
        tracer?.captureAWSv3Client(each);
    };
    return { tracer, handle: create({ env, logger, metrics, instrument }) };
  });
  return async (event, context) => {
    powerLogger.addContext(context);
    const start = performance.now();
    try {
      const { tracer, handle } = await wire();
      return await traced(tracer, () => handle(event, context));
    } catch (error) {
      const kind = isSiltError(error) ? error.kind : "internal";
      powerLogger.error(reasonOf(error), { kind, error: error as Error });
      throw error;
    } finally {
      const asked = usage.take();
      const ms = Math.round(performance.now() - start);
      if (asked !== undefined) logger.log("info", "usage", { ms, usage: asked });
      if (powerMetrics.hasStoredMetrics()) powerMetrics.publishStoredMetrics();
    }
  };
}

function loggerOf(power: PowerLogger): Logger {
  return { log: (level, message, fields = {}) => power[level](message, fields) };
}

/**
 * One metric a name, over all collections and shards: each dimension more would be a metric of its
 * own, at $0.30 a month. Which shard it was is in the logs.
 */
function metricsOf(power: PowerMetrics): Metrics {
  return {
    count: (name, value) => void power.addMetric(name, MetricUnit.Count, value),
    gauge: (name, value) => void power.addMetric(name, unitOf(name), value),
  };
}

function unitOf(name: string) {
  if (name.endsWith("Seconds") || name.startsWith("Seconds")) return MetricUnit.Seconds;
  return name.endsWith("Bytes") ? MetricUnit.Bytes : MetricUnit.Count;
}

/** It takes a while to load, and is of no use where nobody collects traces. */
async function openTracer(): Promise<Tracer> {
  const { Tracer } = await import("@aws-lambda-powertools/tracer");
  return new Tracer({ captureHTTPsRequests: false });
}

async function traced<T>(tracer: Tracer | undefined, work: () => Promise<T>): Promise<T> {
  const parent = tracer?.getSegment();
  if (tracer === undefined || parent === undefined) return work();
  const own = parent.addNewSubsegment("## handler");
  tracer.setSegment(own);
  tracer.annotateColdStart();
  tracer.addServiceNameAnnotation();
  try {
    return await work();
  } catch (error) {
    tracer.addErrorAsMetadata(error as Error);
    throw error;
  } finally {
    own.close();
    tracer.setSegment(parent);
  }
}
