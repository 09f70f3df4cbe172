/**
 * Storing an object in S3 under a condition. S3 itself compares and sets, so of any number of writers
 * one wins; it verifies the SHA-256 of what arrived. Small objects are one request, large ones parts.
 *
 * An SDK that repeats a put whose answer was lost can meet 412 from its own success. It cannot be
 * told from a lost race here: whoever gets `condition-failed` reads and compares before giving up.
 */
import { PutObjectCommand } from "@aws-sdk/client-s3";
import {
  type ObjectSource,
  type PutCondition,
  type PutOutcome,
  SiltError,
  sha256Of,
} from "@silt/core";
import { awsError, callAws, hasName, statusOf } from "./aws-error.ts";
import { checkObject, checksumOf } from "./object-checksum.ts";
import { bucketKey, nameInS3, pause, type S3Context } from "./s3-context.ts";
import { putInParts } from "./s3-put-parts.ts";
import { etagOf, openSource, type PutRequest, SHA256_METADATA } from "./s3-put-request.ts";

/** Tries of one put while others write the same key at the same moment. */
const CONFLICTS_MAX = 8;
const HTTP_NOT_FOUND = 404;
const HTTP_CONFLICT = 409;
const HTTP_PRECONDITION_FAILED = 412;

export interface PutOptions {
  readonly condition: PutCondition;
  readonly bytes: number;
  readonly sha256: string;
}

/** `ObjectStore.put`. */
export async function putObject(
  context: S3Context,
  key: string,
  source: ObjectSource,
  { condition, bytes, sha256 }: PutOptions,
): Promise<PutOutcome> {
  const name = nameInS3(context, key);
  const request: PutRequest = {
    key: bucketKey(context, key),
    name,
    bytes,
    sha256,
    condition: "ifMatch" in condition ? { IfMatch: condition.ifMatch } : { IfNoneMatch: "*" },
    open: () => openSource(source, { name, bytes, sha256 }),
  };
  const small = bytes <= context.limits.singlePutBytesMax;
  return callAws("store", name, () =>
    whileConflicting(context, request, () =>
      small ? putWhole(context, request) : putInParts(context, request),
    ),
  );
}

/**
 * Answers what the condition came to. 409 means that somebody writes the key at this moment: it says
 * nothing about who wins, so it is tried again and never taken for a lost race (F2).
 */
async function whileConflicting(
  context: S3Context,
  request: PutRequest,
  put: () => Promise<PutOutcome>,
): Promise<PutOutcome> {
  for (let conflicts = 1; ; conflicts++) {
    try {
      return await put();
    } catch (error) {
      if (saysConditionFailed(request, error)) return { outcome: "condition-failed" };
      if (!saysConflict(error) || conflicts === CONFLICTS_MAX) {
        throw awsError("store", request.name, error);
      }
    }
    await pause(context, conflicts);
  }
}

/** 412, or 404 for the ETag of a key that is gone; a missing bucket is 404 too, and no answer. */
function saysConditionFailed({ condition }: PutRequest, error: unknown): boolean {
  if (error instanceof SiltError) return false;
  if (statusOf(error) === HTTP_PRECONDITION_FAILED) return true;
  const gone = statusOf(error) === HTTP_NOT_FOUND && hasName(error, "NoSuchKey");
  return gone && "IfMatch" in condition;
}

function saysConflict(error: unknown): boolean {
  return !(error instanceof SiltError) && statusOf(error) === HTTP_CONFLICT;
}

async function putWhole({ client, bucket }: S3Context, request: PutRequest): Promise<PutOutcome> {
  await using source = await request.open();
  const bytes = await source.read(request.bytes);
  checkObject(request, bytes.byteLength, sha256Of(bytes));
  const put = new PutObjectCommand({
    Bucket: bucket,
    Key: request.key,
    Body: bytes,
    ContentLength: request.bytes,
    ChecksumSHA256: checksumOf(request.sha256),
    Metadata: { [SHA256_METADATA]: request.sha256 },
    ...request.condition,
  });
  const { ETag } = await client.send(put);
  return { outcome: "stored", etag: etagOf(request, ETag) };
}
