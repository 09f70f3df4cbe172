/**
 * From an upload to a flipped version: uploads -> queue -> ingest -> log -> stream -> dispatch ->
 * queue -> compact. Messages are hints: lost, repeated or late ones cost nothing but time.
 */
import { Aws, Duration } from "aws-cdk-lib";
import type { ITable } from "aws-cdk-lib/aws-dynamodb";
import { PolicyStatement, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { FilterCriteria, FilterRule, StartingPosition } from "aws-cdk-lib/aws-lambda";
import { DynamoEventSource, SqsDlq, SqsEventSource } from "aws-cdk-lib/aws-lambda-event-sources";
import type { CfnBucket } from "aws-cdk-lib/aws-s3";
import type { Queue } from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import { compactStatements, dispatchStatements, ingestStatements } from "./grants.ts";
import { addDeadQueue, addQueuePair, type QueuePair, type QueueSettings } from "./queues.ts";
import { addFunction, type FunctionSettings, type SiltFunction } from "./silt-function.ts";
import type { Storage } from "./storage.ts";

export interface PipelineOptions {
  /** Only uploads below it are ingested; empty: all. */
  readonly uploadsPrefix: string;
  readonly ingestConcurrency: number;
  readonly compactionConcurrency: number;
  readonly compactionWindow: Duration;
  readonly compactionDiskMb: number;
  readonly streamRecordAge: Duration;
}

export interface Pipeline {
  readonly ingest: SiltFunction;
  readonly dispatch: SiltFunction;
  readonly compact: SiltFunction;
  readonly uploads: QueuePair;
  readonly compaction: QueuePair;
  readonly dispatchDead: Queue;
}

/** Ten pictures with a page of text each, one after the other, and a cold start. */
const INGEST_TIMEOUT = Duration.minutes(3);
const INGEST_BATCH = 10;
const INGEST_WINDOW = Duration.seconds(1);
const INGEST_RECEIVES_MAX = 5;

const DISPATCH_TIMEOUT = Duration.seconds(30);
const DISPATCH_BATCH = 1_000;
const DISPATCH_WINDOW = Duration.seconds(1);
const DISPATCH_RETRIES_MAX = 5;

const COMPACT_TIMEOUT = Duration.minutes(10);
/** Hints of many shards; those of one shard come to one compaction. */
const COMPACT_BATCH = 100;
const COMPACT_RECEIVES_MAX = 3;

/** The queues come first: the functions' environment and grants name them. */
export function addPipelineQueues(
  scope: Construct,
  settings: QueueSettings,
  options: PipelineOptions,
): Pick<Pipeline, "uploads" | "compaction" | "dispatchDead"> {
  const place = new Construct(scope, "Queues");
  return {
    uploads: addQueuePair(place, "Uploads", settings, {
      timeout: INGEST_TIMEOUT,
      window: INGEST_WINDOW,
      receiveCountMax: INGEST_RECEIVES_MAX,
    }),
    compaction: addQueuePair(place, "Compaction", settings, {
      timeout: COMPACT_TIMEOUT,
      window: options.compactionWindow,
      receiveCountMax: COMPACT_RECEIVES_MAX,
    }),
    dispatchDead: addDeadQueue(place, "DispatchDead", settings),
  };
}

/**
 * Sends what happens to pictures to the queue. Written into the bucket's own resource: CDK's
 * helper would add a function with rights on all buckets to do the same.
 */
function notifyUploads({ uploads }: Storage, queue: Queue, prefix: string): void {
  queue.addToResourcePolicy(
    new PolicyStatement({
      principals: [new ServicePrincipal("s3.amazonaws.com")],
      actions: ["sqs:SendMessage"],
      resources: [queue.queueArn],
      // The bucket's name is made after this policy, which the bucket's notification needs.
      conditions: { StringEquals: { "aws:SourceAccount": Aws.ACCOUNT_ID } },
    }),
  );
  const filter =
    prefix === "" ? {} : { filter: { s3Key: { rules: [{ name: "prefix", value: prefix }] } } };
  const bucket = uploads.node.defaultChild as CfnBucket;
  // What a lifecycle rule removes is told by events of its own.
  const events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"];
  bucket.notificationConfiguration = {
    queueConfigurations: events.map((event) => ({ event, queue: queue.queueArn, ...filter })),
  };
  const policy = queue.node.findChild("Policy").node.defaultChild;
  if (policy !== undefined) bucket.node.addDependency(policy);
}

/** Functions and their event sources. */
export function addPipeline(
  scope: Construct,
  settings: FunctionSettings,
  storage: Storage,
  queues: ReturnType<typeof addPipelineQueues>,
  options: PipelineOptions,
): Pipeline {
  const { uploads, compaction, dispatchDead } = queues;
  notifyUploads(storage, uploads.queue, options.uploadsPrefix);
  const ingest = addFunction(scope, "ingest", settings, {
    timeout: INGEST_TIMEOUT,
    statements: ingestStatements(storage),
  });
  const dispatch = addFunction(scope, "dispatch", settings, {
    timeout: DISPATCH_TIMEOUT,
    statements: dispatchStatements(compaction.queue),
  });
  const compact = addFunction(scope, "compact", settings, {
    timeout: COMPACT_TIMEOUT,
    statements: compactStatements(storage, compaction.queue),
    diskMb: options.compactionDiskMb,
  });
  // The event sources hold the concurrency, not the functions: a poller that waits burns no
  // receive count, an invocation that is throttled does.
  ingest.lambda.addEventSource(
    new SqsEventSource(uploads.queue, {
      batchSize: INGEST_BATCH,
      maxBatchingWindow: INGEST_WINDOW,
      maxConcurrency: options.ingestConcurrency,
      reportBatchItemFailures: true,
    }),
  );
  dispatch.lambda.addEventSource(
    new DynamoEventSource(storage.table as ITable, {
      startingPosition: StartingPosition.TRIM_HORIZON,
      batchSize: DISPATCH_BATCH,
      maxBatchingWindow: DISPATCH_WINDOW,
      // One batch at a time: a batch sends one hint a shard, so more at once would send more hints.
      parallelizationFactor: 1,
      filters: [
        FilterCriteria.filter({
          eventName: FilterRule.isEqual("INSERT"),
          dynamodb: { Keys: { sk: { S: FilterRule.beginsWith("RUN#") } } },
        }),
      ],
      // A record that nobody can read must not stop the others: it is cut out, tried, given up.
      bisectBatchOnError: true,
      retryAttempts: DISPATCH_RETRIES_MAX,
      maxRecordAge: options.streamRecordAge,
      reportBatchItemFailures: true,
      onFailure: new SqsDlq(dispatchDead),
    }),
  );
  compact.lambda.addEventSource(
    new SqsEventSource(compaction.queue, {
      batchSize: COMPACT_BATCH,
      maxBatchingWindow: options.compactionWindow,
      maxConcurrency: options.compactionConcurrency,
      reportBatchItemFailures: true,
    }),
  );
  return { ingest, dispatch, compact, ...queues };
}
