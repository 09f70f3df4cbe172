import { GetObjectCommand, HeadObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import type { HeadOutcome } from "@silt/core";
import { hasName, statusOf } from "./aws-error.ts";
import { stopBody } from "./s3-body.ts";
import { wholeSeconds } from "./s3-list-objects.ts";

const HTTP_NOT_FOUND = 404;
const HTTP_RANGE = 416;

/** Looks at one key of a bucket; throws what the SDK throws, also when the bucket is not there. */
export async function headKey(client: S3Client, bucket: string, key: string): Promise<HeadOutcome> {
  const where = { Bucket: bucket, Key: key };
  try {
    const { ContentLength, LastModified } = await client.send(new HeadObjectCommand(where));
    const bytes = ContentLength ?? 0;
    return { outcome: "found", bytes, modifiedAtMs: wholeSeconds(LastModified) };
  } catch (error) {
    if (statusOf(error) !== HTTP_NOT_FOUND) throw error;
  }
  // A HEAD has no body that could tell a missing key from a missing bucket; a GET does.
  try {
    stopBody(await client.send(new GetObjectCommand({ ...where, Range: "bytes=0-0" })));
  } catch (error) {
    // 416: it is empty, so it is there.
    if (!hasName(error, "NoSuchKey") && statusOf(error) !== HTTP_RANGE) throw error;
  }
  // Whoever stored it since the first question came after this look.
  return { outcome: "absent" };
}
