/**
 * Objects of one prefix of an S3 bucket (general purpose: listed in the order of their bytes, with
 * conditional writes). ETags are S3's, quotes included. "Absent" is said only for `NoSuchKey`: what
 * is denied, or in a bucket that is not there, throws.
 */
import {
  DeleteObjectCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  type S3Client,
} from "@aws-sdk/client-s3";
import {
  type Clock,
  type GetOutcome,
  type HeadOutcome,
  type ListedObject,
  type Logger,
  type ObjectStore,
  type Random,
  SiltError,
} from "@silt/core";
import { awsError, callAws, hasName, isTransient, statusOf } from "./aws-error.ts";
import { bodyOf, stopBody } from "./s3-body.ts";
import {
  bucketKey,
  nameInS3,
  pause,
  S3_LIMITS,
  type S3Context,
  type S3Limits,
  s3ReadError,
} from "./s3-context.ts";
import { headKey } from "./s3-head-key.ts";
import { type ListPage, listBucket, listBucketFolders } from "./s3-list-objects.ts";
import { putObject } from "./s3-put-object.ts";
import { createReadAhead } from "./s3-read-ahead.ts";
import { readObject } from "./s3-read-object.ts";

/** Answers of one get whose body may break; each is asked for again. */
const BREAKS_MAX = 8;
const HTTP_NOT_MODIFIED = 304;

export interface S3ObjectStoreOptions {
  readonly client: S3Client;
  readonly bucket: string;
  /** `""` or ending in `/`. */
  readonly prefix: string;
  readonly limits?: Partial<S3Limits>;
}

/** An ObjectStore under `prefix` of an existing bucket; throws `invalid` for a prefix without `/`. */
export function createS3ObjectStore(
  { client, bucket, prefix, limits }: S3ObjectStoreOptions,
  {
    clock,
    random,
    logger,
  }: { readonly clock: Clock; readonly random: Random; readonly logger?: Logger },
): ObjectStore {
  if (prefix !== "" && !prefix.endsWith("/")) {
    throw new SiltError(
      "invalid",
      `Cannot use "${prefix}" as the prefix of a store: it ends inside a name, expected "${prefix}/"`,
    );
  }
  const all = { ...S3_LIMITS, ...limits };
  const context: S3Context = { client, bucket, prefix, clock, random, logger, limits: all };
  const ahead = createReadAhead((key) => readObject(context, key));
  return {
    put: (key, source, options) => putObject(context, key, source, options),
    get: (key, options) => getObject(context, key, options),
    read: ahead.read,
    readAhead: ahead.announce,
    head: (key) => headObject(context, key),
    list: (below, page) => listObjects(context, below, page),
    listFolders: (below) => listBucketFolders(client, bucket, prefix + below),
    delete: (key) => deleteObject(context, key),
  };
}

async function getObject(
  context: S3Context,
  key: string,
  options: { readonly bytesMax: number; readonly ifNoneMatch?: string },
): Promise<GetOutcome> {
  const name = nameInS3(context, key);
  const get = new GetObjectCommand({
    Bucket: context.bucket,
    Key: bucketKey(context, key),
    ...(options.ifNoneMatch !== undefined && { IfNoneMatch: options.ifNoneMatch }),
  });
  for (let breaks = 0; ; breaks++) {
    let answer: GetObjectCommandOutput;
    try {
      answer = await context.client.send(get);
    } catch (error) {
      if (statusOf(error) === HTTP_NOT_MODIFIED) return { outcome: "unchanged" };
      if (hasName(error, "NoSuchKey")) return { outcome: "absent" };
      throw s3ReadError("read", name, error);
    }
    checkSize(name, answer, options.bytesMax);
    try {
      return await foundOf(name, answer);
    } catch (error) {
      // The SDK tries again until an answer begins; where its body breaks it is up to us.
      if (breaks === BREAKS_MAX || !isTransient(error)) throw awsError("read", name, error);
    }
    await pause(context, breaks + 1);
  }
}

/** Throws `invalid`, before any of the body is taken, when it is over `bytesMax`. */
function checkSize(name: string, answer: GetObjectCommandOutput, bytesMax: number): void {
  const bytes = answer.ContentLength ?? Number.POSITIVE_INFINITY;
  if (bytes <= bytesMax) return;
  stopBody(answer);
  throw new SiltError(
    "invalid",
    `Cannot read "${name}" whole: it has ${bytes} bytes, expected at most ${bytesMax}`,
  );
}

async function foundOf(name: string, answer: GetObjectCommandOutput): Promise<GetOutcome> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bodyOf(answer)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (answer.ETag !== undefined && bytes.byteLength === answer.ContentLength) {
    return { outcome: "found", bytes, etag: answer.ETag };
  }
  throw new SiltError(
    "unavailable",
    `Cannot read "${name}": the answer has ${bytes.byteLength} bytes and ETag ${answer.ETag}, expected ${answer.ContentLength} and an ETag; try again`,
  );
}

async function headObject(context: S3Context, key: string): Promise<HeadOutcome> {
  const whole = bucketKey(context, key);
  try {
    return await headKey(context.client, context.bucket, whole);
  } catch (error) {
    throw s3ReadError("look at", nameInS3(context, key), error);
  }
}

async function listObjects(
  { client, bucket, prefix }: S3Context,
  below: string,
  { after, limit }: ListPage,
): Promise<readonly ListedObject[]> {
  const page = after === undefined ? { limit } : { after: prefix + after, limit };
  const found = await listBucket(client, bucket, prefix + below, page);
  return found.map((object) => ({ ...object, key: object.key.slice(prefix.length) }));
}

async function deleteObject(context: S3Context, key: string): Promise<void> {
  const { client, bucket } = context;
  const where = { Bucket: bucket, Key: bucketKey(context, key) };
  await callAws("delete", nameInS3(context, key), () =>
    client.send(new DeleteObjectCommand(where)),
  );
}
