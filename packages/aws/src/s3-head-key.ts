import { GetObjectCommand, HeadObjectCommand, type S3Client } from "@aws-sdk/client-s3";
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
  const where = { Bucket: bucket, Key: key };
  try {
    const { ContentLength, LastModified } = await client.send(new HeadObjectCommand(where));
    const bytes = ContentLength ?? 0;
    return { outcome: "found", bytes, modifiedAtMs: wholeSeconds(LastModified) };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const refusal = await refusalOfGet(client, where);
    // Whoever stored it between the two questions came after this look.
    const missing = refusal === undefined || hasName(refusal, "NoSuchKey");
    if (missing && statusOf(error) === HTTP_NOT_FOUND) return { outcome: "absent" };
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
