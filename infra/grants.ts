/** What each role may do, statement by statement. No role may do what its function never does. */
import { Stack, Validations } from "aws-cdk-lib";
import type { CfnTable, Table } from "aws-cdk-lib/aws-dynamodb";
import type { PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { Bucket, CfnBucket } from "aws-cdk-lib/aws-s3";
import type { Queue } from "aws-cdk-lib/aws-sqs";
import { allow, type SiltFunction } from "./silt-function.ts";
import type { Storage } from "./storage.ts";

/** Everything of collections, as `packages/core/src/object-keys.ts` names it. */
const COLLECTIONS = "collections/*";
const MARKER = "silt-store.json";

const storeArns = ({ store }: Storage) => [
  store.arnForObjects(COLLECTIONS),
  store.arnForObjects(MARKER),
];

/** Without ListBucket S3 answers 403 for an absent key, and absent would look like denied. */
const listing = (...buckets: readonly Bucket[]) =>
  allow(
    ["s3:ListBucket"],
    buckets.map(({ bucketArn }) => bucketArn),
  );

/** AWS judges a batch by SendMessage; API servers that stand in for it may by the call's own name. */
const hinting = (queue: Queue) =>
  allow(["sqs:SendMessage", "sqs:SendMessageBatch", "sqs:GetQueueUrl"], [queue.queueArn]);

/** TransactGetItems asks for GetItem, TransactWriteItems for the actions of its items. */
const logReading = ({ table }: Storage) =>
  allow(["dynamodb:GetItem", "dynamodb:Query"], [table.tableArn]);
const logWriting = ({ table }: Storage) =>
  allow(["dynamodb:PutItem", "dynamodb:UpdateItem"], [table.tableArn]);

const objectReading = (storage: Storage) => allow(["s3:GetObject"], storeArns(storage));
const WRITE = ["s3:PutObject", "s3:AbortMultipartUpload"];
const objectWriting = ({ store }: Storage) => allow(WRITE, [store.arnForObjects(COLLECTIONS)]);
/** The first ingest, or sweep, makes the store. */
const storeMaking = ({ store }: Storage) => allow(WRITE, [store.arnForObjects(MARKER)]);

/** Reads pictures, writes bundles and registers them. Deletes nothing; the stream hints. */
export function ingestStatements(storage: Storage): PolicyStatement[] {
  return [
    allow(["s3:GetObject"], [storage.uploads.arnForObjects("*")]),
    listing(storage.uploads, storage.store),
    objectReading(storage),
    objectWriting(storage),
    storeMaking(storage),
    logReading(storage),
    logWriting(storage),
  ];
}

/** Sends hints; the stream it reads is granted with its event source. Sees no data. */
export function dispatchStatements(compactionQueue: Queue): PolicyStatement[] {
  return [hinting(compactionQueue)];
}

/** Reads bundles and segments, writes versions, flips. Deletes no object and no item. */
export function compactStatements(storage: Storage, compactionQueue: Queue): PolicyStatement[] {
  return [
    listing(storage.store),
    objectReading(storage),
    objectWriting(storage),
    logReading(storage),
    logWriting(storage),
    hinting(compactionQueue),
  ];
}

/** Repairs and collects: the only role that may delete an object. */
export function sweepStatements(storage: Storage, compactionQueue: Queue): PolicyStatement[] {
  return [
    ...compactStatements(storage, compactionQueue),
    storeMaking(storage),
    allow(["s3:DeleteObject"], [storage.store.arnForObjects(COLLECTIONS)]),
  ];
}

/** Readers never write. */
export function queryStatements(storage: Storage): PolicyStatement[] {
  return [listing(storage.store), objectReading(storage), logReading(storage)];
}

const logicalId = (of: Bucket | Table) =>
  Stack.of(of).getLogicalId(of.node.defaultChild as CfnBucket | CfnTable);

/** Wildcards that remain are below one prefix of one bucket. */
export function acknowledgePrefixes(storage: Storage, functions: readonly SiltFunction[]): void {
  for (const { role } of functions) {
    Validations.of(role).acknowledge(
      {
        id: `AwsSolutions-IAM5[Resource::<${logicalId(storage.store)}.Arn>/${COLLECTIONS}]`,
        reason: "Keys below collections/ are made by Silt as it goes",
      },
      {
        id: `AwsSolutions-IAM5[Resource::<${logicalId(storage.uploads)}.Arn>/*]`,
        reason: "Pictures have the names that their uploaders give them",
      },
    );
  }
}
