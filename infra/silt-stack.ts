/** One Silt store with its pipeline. Several of them in one account and region don't meet. */
import { CfnOutput, Duration, RemovalPolicy, Stack, type StackProps } from "aws-cdk-lib";
import { RetentionDays } from "aws-cdk-lib/aws-logs";
import type { Construct } from "constructs";
import type { CollectionSpec } from "../lambdas/env.ts";
import { addAlarms } from "./alarms.ts";
import { addDashboard } from "./dashboard.ts";
import { acknowledgePrefixes } from "./grants.ts";
import { functionsOf, type Watched } from "./metrics.ts";
import { addSharedCache } from "./network.ts";
import { addPipeline, addPipelineQueues, type PipelineOptions } from "./pipeline.ts";
import { addQuery } from "./query.ts";
import { addSweep } from "./schedule.ts";
import type { FunctionName, FunctionSettings } from "./silt-function.ts";
import { addStorage, type Storage } from "./storage.ts";

export interface SiltSettings {
  /** Bundles for the functions of this architecture. */
  readonly code: FunctionSettings["code"];
  /** Default arm64, which costs a fifth less. */
  readonly architecture?: "arm64" | "x86_64";
  /** What `cdk destroy` does to data and logs; default `retain`. */
  readonly removal?: "retain" | "destroy";
  /** Collections that the first upload makes, where they are missing; default: those of its pipeline. */
  readonly collections?: readonly CollectionSpec[];
  /** What ingest makes of pictures; default `auto`: of text lines and words, of all an image. */
  readonly pipeline?: "auto" | "text" | "image";
  /** Embedders of the collections that ingest makes; default: those of the library. */
  readonly textEmbedder?: string;
  readonly imageEmbedder?: string;
  /** Only uploads below it are ingested; default: all. */
  readonly uploadsPrefix?: string;
  /** Megabytes by function; what is not given has its default. CPU grows with memory. */
  readonly memoryMb?: Partial<Record<FunctionName, number>>;
  /** Disk of a compaction: at most a third of it can be merged. Default 4,096. */
  readonly compactionDiskMb?: number;
  /** Disk of a reader without shared cache, half of it for segments and their vector files. Default 4,096. */
  readonly queryDiskMb?: number;
  /** How long hints are gathered before a compaction. Default 5. */
  readonly compactionWindowSeconds?: number;
  /** Ingests at once, 2 to 1,000. Default 10. */
  readonly ingestConcurrency?: number;
  /** Compactions at once, 2 to 1,000. Default 5. */
  readonly compactionConcurrency?: number;
  /** How long a stream record that cannot be read blocks its shard at most, from 60. Default 3,600. */
  readonly streamRecordAgeSeconds?: number;
  /** A network with a file system for the readers' segments. Default: each reader's own disk. */
  readonly sharedCache?: boolean;
  /** SNS topic that alarms go to; default: none, they are seen on the dashboard. */
  readonly alarmTopicArn?: string;
  /** Days that logs are kept, one of CloudWatch's numbers. Default 30. */
  readonly logRetentionDays?: number;
  /** Refuses requests without TLS, which only an API server on this machine lacks. Default true. */
  readonly requireTls?: boolean;
}

export type SiltStackProps = StackProps & SiltSettings;

/** Pictures and models need ingest's and query's; 1,769 MB are one whole processor. */
const MEMORY_MB: Readonly<Record<FunctionName, number>> = {
  ingest: 2_048,
  dispatch: 256,
  compact: 2_048,
  sweep: 512,
  query: 1_769,
};
const LOCAL_CACHE = "/tmp/silt-cache";

function pipelineOptions(props: SiltSettings): PipelineOptions {
  return {
    uploadsPrefix: props.uploadsPrefix ?? "",
    ingestConcurrency: props.ingestConcurrency ?? 10,
    compactionConcurrency: props.compactionConcurrency ?? 5,
    compactionWindow: Duration.seconds(props.compactionWindowSeconds ?? 5),
    compactionDiskMb: props.compactionDiskMb ?? 4_096,
    streamRecordAge: Duration.seconds(props.streamRecordAgeSeconds ?? 3_600),
  };
}

function ingestEnvironment(props: SiltSettings): Readonly<Record<string, string>> {
  const { collections, pipeline, textEmbedder, imageEmbedder } = props;
  return {
    ...(collections && { SILT_COLLECTIONS: JSON.stringify(collections) }),
    ...(pipeline && { SILT_PIPELINE: pipeline }),
    ...(textEmbedder && { SILT_TEXT_EMBEDDER: textEmbedder }),
    ...(imageEmbedder && { SILT_IMAGE_EMBEDDER: imageEmbedder }),
  };
}

export class SiltStack extends Stack {
  constructor(scope: Construct, id: string, props: SiltStackProps) {
    super(scope, id, {
      description: "Silt: vectors from pictures, folded into verified snapshots",
      ...props,
    });
    const removal = props.removal ?? "retain";
    const removalPolicy = removal === "destroy" ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
    const logRetention: RetentionDays = props.logRetentionDays ?? RetentionDays.ONE_MONTH;
    const requireTls = props.requireTls ?? true;
    const storage = addStorage(this, { removal, requireTls });
    // Messages are hints and events of things that are stored elsewhere: nothing to keep.
    const queueSettings = { requireTls, removalPolicy: RemovalPolicy.DESTROY };
    const options = pipelineOptions(props);
    const queues = addPipelineQueues(this, queueSettings, options);
    const compactionQueue = queues.compaction.queue;
    const location = `s3://${storage.store.bucketName}?table=${storage.table.tableName}&queue=${compactionQueue.queueName}`;
    const settings: FunctionSettings = {
      code: props.code,
      architecture: props.architecture ?? "arm64",
      stackName: this.stackName,
      removalPolicy,
      logRetention,
      memoryMb: { ...MEMORY_MB, ...props.memoryMb },
      environment: {
        SILT_STORE: location,
        SILT_CACHE: LOCAL_CACHE,
        ...ingestEnvironment(props),
      },
    };
    const cache = props.sharedCache
      ? addSharedCache(this, { removalPolicy: RemovalPolicy.DESTROY, logRetention })
      : undefined;
    const watched: Watched = {
      stackName: this.stackName,
      ...addPipeline(this, settings, storage, queues, options),
      ...addSweep(this, settings, queueSettings, storage, compactionQueue),
      ...addQuery(this, settings, storage, { diskMb: props.queryDiskMb ?? 4_096, cache }),
    };
    acknowledgePrefixes(storage, functionsOf(watched));
    const dashboard = addDashboard(this, watched, addAlarms(this, watched, props.alarmTopicArn));
    addOutputs(this, storage, watched, { location, dashboardName: dashboard.dashboardName });
  }
}

function addOutputs(
  stack: Stack,
  storage: Storage,
  watched: Watched,
  names: { readonly location: string; readonly dashboardName: string },
): void {
  const outputs = {
    StoreLocation: [names.location, "For --store and SILT_STORE"],
    UploadsBucket: [storage.uploads.bucketName, "Upload pictures here"],
    QueryUrl: [watched.url.url, "Takes requests that are signed for lambda:InvokeFunctionUrl"],
    QueryFunction: [watched.query.lambda.functionName, "The same by lambda:InvokeFunction"],
    SweepFunction: [watched.sweep.lambda.functionName, "A sweep at once, by lambda:InvokeFunction"],
    UploadsQueueUrl: [watched.uploads.queue.queueUrl, "Upload events"],
    UploadsDeadQueueUrl: [watched.uploads.dead.queueUrl, "Upload events that were given up"],
    CompactionQueueUrl: [watched.compaction.queue.queueUrl, "Hints"],
    CompactionDeadQueueUrl: [watched.compaction.dead.queueUrl, "Hints that were given up"],
    DispatchDeadQueueUrl: [watched.dispatchDead.queueUrl, "Stream records that were given up"],
    SweepDeadQueueUrl: [watched.dead.queueUrl, "Sweeps that were given up"],
    DashboardName: [names.dashboardName, "In CloudWatch"],
  };
  for (const [id, [value = "", description = ""]] of Object.entries(outputs)) {
    new CfnOutput(stack, id, { value, description });
  }
}
