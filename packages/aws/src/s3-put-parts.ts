/**
 * Storing a large object in parts: it is read once, hashed on the way and appears only with the last
 * request, which carries the condition. Whatever fails before, the parts are taken back. Those of a
 * process that died are removed by the bucket's lifecycle rule for incomplete uploads.
 */
import { createHash } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { type PutOutcome, reasonOf, SiltError, sha256Of } from "@silt/core";
import { hasName, isRefusal } from "./aws-error.ts";
import { checkObject, checksumOf } from "./object-checksum.ts";
import type { S3Context, S3Limits } from "./s3-context.ts";
import { etagOf, type OpenSource, type PutRequest, SHA256_METADATA } from "./s3-put-request.ts";

/** S3's own limits. */
const PARTS_MAX = 10_000;
const OBJECT_BYTES_MAX = 5 * 1024 ** 4;
/** Parts of very large objects are large: fewer of them are in memory at once. */
const MEMORY_BYTES_MAX = 256 * 1024 * 1024;
const PART_BYTES_STEP = 1024 * 1024;
/** User metadata beside the SHA-256 of the whole: from part size and parts S3's composite follows. */
const PART_BYTES_METADATA = "silt-part-bytes";

interface Upload {
  readonly request: PutRequest;
  readonly id: string;
  readonly partBytes: number;
}

/** Stores in parts; throws what the SDK throws (a failed condition, a conflict), or `corrupt`. */
export async function putInParts(context: S3Context, request: PutRequest): Promise<PutOutcome> {
  const partBytes = partBytesOf(request, context.limits);
  if (await willFail(context, request)) return { outcome: "condition-failed" };
  await using source = await request.open();
  const upload = await beginUpload(context, request, partBytes);
  try {
    const parts = await sendParts(context, upload, source);
    return await completeUpload(context, upload, parts);
  } catch (error) {
    await abortUpload(context, upload);
    throw error;
  }
}

/** So that 10,000 parts are enough; throws `invalid` for what S3 cannot hold. */
export function partBytesOf(
  { name, bytes }: Pick<PutRequest, "name" | "bytes">,
  { partBytesMin }: Pick<S3Limits, "partBytesMin">,
): number {
  if (bytes > OBJECT_BYTES_MAX) {
    throw new SiltError(
      "invalid",
      `Cannot store "${name}": it has ${bytes} bytes, expected at most ${OBJECT_BYTES_MAX}`,
    );
  }
  const least = Math.ceil(bytes / PARTS_MAX / PART_BYTES_STEP) * PART_BYTES_STEP;
  return Math.max(partBytesMin, least);
}

/**
 * Asks before gigabytes are sent what S3 would say after: a condition that fails at any moment of a
 * put has failed. A refusal decides nothing: "not found" may be the bucket, whoever may only write is not
 * told, and a HEAD has no body that would say more. The next request does.
 */
async function willFail({ client, bucket }: S3Context, request: PutRequest): Promise<boolean> {
  const { condition, key } = request;
  try {
    const { ETag } = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
    return "IfNoneMatch" in condition || condition.IfMatch !== ETag;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

async function beginUpload(
  { client, bucket }: S3Context,
  request: PutRequest,
  partBytes: number,
): Promise<Upload> {
  const begun = await client.send(
    new CreateMultipartUploadCommand({
      Bucket: bucket,
      Key: request.key,
      ChecksumAlgorithm: "SHA256",
      Metadata: {
        [SHA256_METADATA]: request.sha256,
        [PART_BYTES_METADATA]: String(partBytes),
      },
    }),
  );
  const id = begun.UploadId;
  if (id !== undefined) return { request, id, partBytes };
  throw new SiltError(
    "unavailable",
    `Cannot store "${request.name}": the answer has no upload id, expected one; try again`,
  );
}

/** Sends all parts, some at a time; ends only when none is under way, so that abort removes all. */
async function sendParts(
  context: S3Context,
  upload: Upload,
  source: OpenSource,
): Promise<readonly CompletedPart[]> {
  const { request, partBytes } = upload;
  const inFlightMax = Math.max(
    1,
    Math.min(context.limits.partsInFlightMax, Math.floor(MEMORY_BYTES_MAX / partBytes)),
  );
  const stopping = new AbortController();
  const sending = new Set<Promise<void>>();
  const parts: CompletedPart[] = [];
  const failures: unknown[] = [];
  const hash = createHash("sha256");
  let read = 0;
  try {
    for (let number = 1; read < request.bytes && failures.length === 0; number++) {
      const bytes = await source.read(Math.min(partBytes, request.bytes - read));
      if (bytes.byteLength === 0) break;
      read += bytes.byteLength;
      hash.update(bytes);
      const sent: Promise<void> = sendPart(context, upload, number, bytes, stopping.signal)
        .then((part) => {
          parts[number - 1] = part;
        })
        .catch((error) => {
          failures.push(error);
          stopping.abort();
        })
        .finally(() => sending.delete(sent));
      sending.add(sent);
      if (sending.size >= inFlightMax) await Promise.race(sending);
    }
    // Before the last parts are waited for: a source that is not what was announced ends here.
    if (failures.length === 0) checkObject(request, read, hash.digest("hex"));
  } catch (error) {
    stopping.abort();
    failures.unshift(error);
  }
  await Promise.all(sending);
  if (failures.length > 0) throw failures[0];
  return parts;
}

async function sendPart(
  { client, bucket }: S3Context,
  { request, id }: Upload,
  number: number,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<CompletedPart> {
  const checksum = checksumOf(sha256Of(bytes));
  const part = new UploadPartCommand({
    Bucket: bucket,
    Key: request.key,
    UploadId: id,
    PartNumber: number,
    Body: bytes,
    ContentLength: bytes.byteLength,
    ChecksumSHA256: checksum,
  });
  const { ETag } = await client.send(part, { abortSignal: signal });
  return { PartNumber: number, ETag: etagOf(request, ETag), ChecksumSHA256: checksum };
}

async function completeUpload(
  { client, bucket }: S3Context,
  { request, id }: Upload,
  parts: readonly CompletedPart[],
): Promise<PutOutcome> {
  const complete = new CompleteMultipartUploadCommand({
    Bucket: bucket,
    Key: request.key,
    UploadId: id,
    MultipartUpload: { Parts: [...parts] },
    MpuObjectSize: request.bytes,
    ...request.condition,
  });
  const { ETag } = await client.send(complete);
  return { outcome: "stored", etag: etagOf(request, ETag) };
}

/** Takes the parts back; what cannot be is left to the bucket's lifecycle rule, and said. */
async function abortUpload({ client, bucket, logger }: S3Context, upload: Upload): Promise<void> {
  const { request, id } = upload;
  try {
    await client.send(
      new AbortMultipartUploadCommand({ Bucket: bucket, Key: request.key, UploadId: id }),
    );
  } catch (error) {
    // Gone: it was completed although the answer was lost, or somebody has cleaned up.
    if (hasName(error, "NoSuchUpload")) return;
    const left = "parts of an upload that failed are left to the bucket's lifecycle rule";
    logger?.log("warn", left, { object: request.name, upload: id, reason: reasonOf(error) });
  }
}
