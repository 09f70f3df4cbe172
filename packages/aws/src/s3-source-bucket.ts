/**
 * A bucket that others upload to: what is ingested from it, read only. A key is read as its newest
 * version. What is absent has records that will be deleted, so it is told apart with care from what
 * is denied, and a bucket that is not there is neither.
 */
import { createHash } from "node:crypto";
import { GetObjectCommand, type GetObjectCommandOutput, type S3Client } from "@aws-sdk/client-s3";
import { type ListedObject, SiltError } from "@silt/core";
import { awsError, hasName, isDenied, isNotLoggedIn, isTransient, meaningOf } from "./aws-error.ts";
import { bodyOf, stopBody } from "./s3-body.ts";
import { askHead } from "./s3-head-key.ts";
import { type ListPage, listBucket, wholeSeconds } from "./s3-list-objects.ts";

export interface SourceDenied {
  readonly outcome: "denied";
  /** The end of a sentence, with what to grant. */
  readonly reason: string;
}

export type SourceObject =
  | {
      readonly outcome: "found";
      readonly bytes: Uint8Array;
      /** User metadata, names in lower case; values as S3 gives them, RFC 2047 for what is not ASCII. */
      readonly metadata: Readonly<Record<string, string>>;
      readonly sha256: string;
      /** Another one for other bytes; it says nothing of the metadata. */
      readonly etag: string;
    }
  /** Over `bytesMax`: nothing of it was read. */
  | {
      readonly outcome: "too-large";
      readonly size: number;
      readonly metadata: Readonly<Record<string, string>>;
      readonly etag: string;
    }
  | { readonly outcome: "absent" }
  | SourceDenied;

export type SourceHead =
  | {
      readonly outcome: "found";
      readonly bytes: number;
      readonly modifiedAtMs: number;
      readonly metadata: Readonly<Record<string, string>>;
      readonly etag: string;
    }
  | { readonly outcome: "absent" }
  | SourceDenied;

export interface SourceReadOptions {
  readonly bytesMax: number;
  /** Ends the read; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/** All throw `unavailable` when S3 fails or nobody is logged in, `invalid` when the bucket is missing. */
export interface S3SourceBucket {
  read(key: string, options: SourceReadOptions): Promise<SourceObject>;
  head(key: string): Promise<SourceHead>;
  /** Keys under `prefix`, in the order of their bytes, after `after`, at most `limit`. */
  list(prefix: string, page: ListPage): Promise<readonly ListedObject[]>;
}

/** Answers of one read whose body may break; the object is then read from its beginning. */
const BREAKS_MAX = 4;

/** Sources in an existing bucket. */
export function createS3SourceBucket(client: S3Client, bucket: string): S3SourceBucket {
  return {
    read: (key, options) => readSource(client, bucket, key, options),
    head: (key) => headSource(client, bucket, key),
    list: (prefix, page) => listBucket(client, bucket, prefix, page),
  };
}

async function headSource(client: S3Client, bucket: string, key: string): Promise<SourceHead> {
  const name = `s3://${bucket}/${key}`;
  try {
    const answer = await askHead(client, bucket, key);
    if (answer === undefined) return { outcome: "absent" };
    const { ContentLength: bytes = 0, LastModified, Metadata: metadata = {} } = answer;
    const modifiedAtMs = wholeSeconds(LastModified);
    return { outcome: "found", bytes, modifiedAtMs, metadata, etag: etagOf(name, answer) };
  } catch (error) {
    return deniedOrThrow("look at", name, error);
  }
}

async function readSource(
  client: S3Client,
  bucket: string,
  key: string,
  options: SourceReadOptions,
): Promise<SourceObject> {
  const name = `s3://${bucket}/${key}`;
  const { signal } = options;
  for (let breaks = 0; ; breaks++) {
    let answer: GetObjectCommandOutput;
    try {
      const get = new GetObjectCommand({ Bucket: bucket, Key: key });
      answer = await client.send(get, signal && { abortSignal: signal });
    } catch (error) {
      signal?.throwIfAborted();
      if (hasName(error, "NoSuchKey")) return { outcome: "absent" };
      return deniedOrThrow("read", name, error);
    }
    try {
      return await takeBody(name, answer, options);
    } catch (error) {
      signal?.throwIfAborted();
      // The SDK tries again until an answer begins; where its body breaks it is up to us.
      if (breaks === BREAKS_MAX || !isTransient(error)) throw awsError("read", name, error);
    }
  }
}

async function takeBody(
  name: string,
  answer: GetObjectCommandOutput,
  { bytesMax, signal }: SourceReadOptions,
): Promise<SourceObject> {
  using _body = stoppable(answer, signal);
  const { ContentLength: size, Metadata: metadata = {} } = answer;
  const etag = etagOf(name, answer);
  if (size !== undefined && size > bytesMax) {
    return { outcome: "too-large", size, metadata, etag };
  }
  const hash = createHash("sha256");
  const chunks: Uint8Array[] = [];
  let read = 0;
  for await (const chunk of bodyOf(answer)) {
    hash.update(chunk);
    read += chunk.byteLength;
    if (read > bytesMax) break;
    chunks.push(chunk);
  }
  if (read !== size) {
    throw new SiltError(
      "unavailable",
      `Cannot read "${name}": ${read} bytes came, expected ${size}; try again`,
    );
  }
  const sha256 = hash.digest("hex");
  return { outcome: "found", bytes: Buffer.concat(chunks), metadata, sha256, etag };
}

/** A body that ends at the signal, and with whoever reads it: what is left of it never comes. */
function stoppable(answer: GetObjectCommandOutput, signal: AbortSignal | undefined): Disposable {
  const stop = () => stopBody(answer);
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted) stop();
  return {
    [Symbol.dispose]() {
      signal?.removeEventListener("abort", stop);
      stop();
    },
  };
}

/** Without one, two contents of the same object could not be told apart. */
function etagOf(name: string, { ETag }: { readonly ETag?: string | undefined }): string {
  if (ETag !== undefined) return ETag;
  throw new SiltError("unavailable", `Cannot read "${name}": the answer has no ETag; try again`);
}

/** "Denied" is about this object; that nobody is logged in is about everything, and throws. */
function deniedOrThrow(action: string, name: string, error: unknown): SourceDenied {
  // Encrypted with a key that its owner keeps: nobody else can ever read it.
  const sealed = hasName(error, "InvalidRequest");
  if (isNotLoggedIn(error) || !(isDenied(error) || sealed)) throw awsError(action, name, error);
  const advice =
    "without s3:ListBucket a missing object looks denied too, so grant that beside s3:GetObject";
  return { outcome: "denied", reason: `${meaningOf(error).state}; ${advice}` };
}
