import {
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  type S3Client,
} from "@aws-sdk/client-s3";
import type { HeadOutcome } from "@silt/core";
import { hasName, isRefusal, statusOf } from "./aws-error.ts";
import { stopBody } from "./s3-body.ts";
import { wholeSeconds } from "./s3-list-objects.ts";

const HTTP_NOT_FOUND = 404;
const HTTP_RANGE = 416;

interface Where {
  readonly Bucket: string;
  readonly Key: string;
}

/** Looks at one key of a bucket; throws what the SDK throws, also when the bucket is not there. */
export async function headKey(client: S3Client, bucket: string, key: string): Promise<HeadOutcome> {
  const answer = await askHead(client, bucket, key);
  if (answer === undefined) return { outcome: "absent" };
  const { ContentLength: bytes = 0, LastModified } = answer;
  return { outcome: "found", bytes, modifiedAtMs: wholeSeconds(LastModified) };
}

/** {@link headKey} with all that S3 tells of the object; undefined when it is absent. */
export async function askHead(
  client: S3Client,
  bucket: string,
  key: string,
): Promise<HeadObjectCommandOutput | undefined> {
  const where = { Bucket: bucket, Key: key };
  try {
    return await client.send(new HeadObjectCommand(where));
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const refusal = await refusalOfGet(client, where);
    // Whoever stored it between the two questions came after this look.
    const missing = refusal === undefined || hasName(refusal, "NoSuchKey");
    if (missing && statusOf(error) === HTTP_NOT_FOUND) return undefined;
    throw refusal ?? error;
  }
}

/** A HEAD has no body that tells a missing key from a missing bucket, or an old login; a GET has. */
async function refusalOfGet(client: S3Client, where: Where): Promise<unknown> {
  try {
    stopBody(await client.send(new GetObjectCommand({ ...where, Range: "bytes=0-0" })));
    return undefined;
  } catch (error) {
    // 416: it is empty, so it is there.
    return statusOf(error) === HTTP_RANGE ? undefined : error;
  }
}
