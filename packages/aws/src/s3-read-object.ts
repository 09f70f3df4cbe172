/**
 * Reading an object of any size as a row of ranges. The first one is in memory before the object is
 * said to be found, so that a small object is one request and a stream that nobody reads holds no
 * connection. All ranges are of one ETag: a body never mixes two objects.
 */
import { GetObjectCommand, type GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { type ReadOutcome, SiltError } from "@silt/core";
import { awsError, hasName, isTransient, statusOf } from "./aws-error.ts";
import { bodyOf } from "./s3-body.ts";
import { bucketKey, nameInS3, pause, type S3Context, s3ReadError } from "./s3-context.ts";

/** Connections that may break while one range is read; each is resumed where it broke. */
const BREAKS_MAX = 8;
const HTTP_NOT_FOUND = 404;
const HTTP_PRECONDITION_FAILED = 412;
const HTTP_RANGE = 416;

/** The object that all ranges must be of. */
interface OpenObject {
  readonly key: string;
  readonly name: string;
  readonly etag: string;
  readonly bytes: number;
}

type Chunks = readonly Uint8Array[];

/** `ObjectStore.read`. Throws `unavailable` when the object changes or vanishes in the middle. */
export async function readObject(context: S3Context, key: string): Promise<ReadOutcome> {
  const name = nameInS3(context, key);
  const opened = await openObject(context, bucketKey(context, key), name);
  if (opened === "absent") return { outcome: "absent" };
  if (opened === "empty") return { outcome: "found", bytes: 0, body: streamOnce(name, noChunks) };
  const { object, first } = opened;
  return {
    outcome: "found",
    bytes: object.bytes,
    body: streamOnce(name, () => chunksOf(context, object, first)),
  };
}

/** Asks for the first range; its answer says how long the object is. */
async function openObject(
  context: S3Context,
  key: string,
  name: string,
): Promise<"absent" | "empty" | { readonly object: OpenObject; readonly first: Chunks }> {
  const { client, bucket, limits } = context;
  const Range = `bytes=0-${limits.readBytes - 1}`;
  let answer: GetObjectCommandOutput;
  try {
    answer = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key, Range }));
  } catch (error) {
    if (hasName(error, "NoSuchKey")) return "absent";
    // No first byte can be given: the object has none.
    if (statusOf(error) === HTTP_RANGE) return "empty";
    throw s3ReadError("read", name, error);
  }
  const bytes = totalOf(answer);
  const { ETag: etag } = answer;
  if (bytes === undefined || etag === undefined) {
    throw new SiltError(
      "unavailable",
      `Cannot read "${name}": the answer lacks its length or ETag, expected both; try again`,
    );
  }
  const object = { key, name, etag, bytes };
  const end = Math.min(bytes, limits.readBytes);
  const never = new AbortController();
  return { object, first: await readRange(context, object, { at: 0, end }, never.signal, answer) };
}

/** Of `bytes 0-9/1234`; a server without ranges sends all, and a length. */
function totalOf({ ContentRange, ContentLength }: GetObjectCommandOutput): number | undefined {
  const total = /^bytes \d+-\d+\/(\d+)$/.exec(ContentRange ?? "")?.[1];
  return total === undefined ? ContentLength : Number(total);
}

/** Everything in order; later ranges are fetched while earlier ones are consumed. */
async function* chunksOf(
  context: S3Context,
  object: OpenObject,
  first: Chunks,
): AsyncGenerator<Uint8Array> {
  const { readBytes, readsAheadMax } = context.limits;
  const stopping = new AbortController();
  const ahead: Promise<Chunks>[] = [];
  let next = readBytes;
  const fetchAhead = () => {
    while (next < object.bytes && ahead.length < readsAheadMax) {
      const range = { at: next, end: Math.min(next + readBytes, object.bytes) };
      const fetching = readRange(context, object, range, stopping.signal);
      // Thrown when the reader comes to it, unless it leaves before.
      fetching.catch(() => {});
      ahead.push(fetching);
      next = range.end;
    }
  };
  try {
    fetchAhead();
    yield* first;
    for (let range = ahead.shift(); range !== undefined; range = ahead.shift()) {
      fetchAhead();
      yield* await range;
    }
  } finally {
    // Nobody waits for what is still under way.
    stopping.abort();
  }
}

/** The bytes from `at` to before `end`; goes on where a connection breaks, a bounded number of times. */
async function readRange(
  context: S3Context,
  object: OpenObject,
  { at, end }: { readonly at: number; readonly end: number },
  signal: AbortSignal,
  begun?: GetObjectCommandOutput,
): Promise<Chunks> {
  const chunks: Uint8Array[] = [];
  let read = at;
  let answer = begun;
  for (let breaks = 0; ; breaks++) {
    answer ??= await askFor(context, object, read, end, signal);
    try {
      for await (const chunk of bodyOf(answer)) {
        chunks.push(chunk);
        read += chunk.byteLength;
      }
    } catch (error) {
      if (signal.aborted || !isTransient(error) || breaks === BREAKS_MAX) {
        throw awsError("read", object.name, error);
      }
    }
    if (read === end) return chunks;
    if (read > end || breaks === BREAKS_MAX) throw wrongLength(object, read - at, end - at);
    answer = undefined;
    await pause(context, breaks + 1);
  }
}

async function askFor(
  { client, bucket }: S3Context,
  { key, name, etag }: OpenObject,
  at: number,
  end: number,
  signal: AbortSignal,
): Promise<GetObjectCommandOutput> {
  const Range = `bytes=${at}-${end - 1}`;
  const get = new GetObjectCommand({ Bucket: bucket, Key: key, Range, IfMatch: etag });
  try {
    return await client.send(get, { abortSignal: signal });
  } catch (error) {
    const status = statusOf(error);
    const gone = status === HTTP_NOT_FOUND && hasName(error, "NoSuchKey");
    if (!gone && status !== HTTP_PRECONDITION_FAILED && status !== HTTP_RANGE) {
      throw s3ReadError("read", name, error);
    }
    throw new SiltError(
      "unavailable",
      `Cannot read "${name}": it was ${gone ? "deleted" : "replaced"} while it was read, expected one object; read it again`,
      { cause: error },
    );
  }
}

function wrongLength({ name }: OpenObject, read: number, expected: number): SiltError {
  return new SiltError(
    "unavailable",
    `Cannot read "${name}": a range came with ${read} bytes, expected ${expected}; try again`,
  );
}

async function* noChunks(): AsyncGenerator<Uint8Array> {}

function streamOnce(
  name: string,
  chunks: () => AsyncGenerator<Uint8Array>,
): AsyncIterable<Uint8Array> {
  let begun = false;
  return {
    [Symbol.asyncIterator]() {
      if (begun) {
        throw new SiltError("internal", `Cannot read "${name}": its stream was read before`);
      }
      begun = true;
      return chunks();
    },
  };
}
