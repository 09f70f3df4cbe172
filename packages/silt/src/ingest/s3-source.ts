import { canonicalJson, SiltError, sha256Of } from "@silt/core";
import { IMAGE_BYTES_MAX, isImageName } from "@silt/embed";
import {
  GONE_STAMP,
  type ImageFile,
  type ImageRoot,
  type ImageSource,
  type SourceRead,
  type WalkOptions,
} from "./image-source.ts";
import { digestOf, tooLargeReason } from "./read-source.ts";

/** What is asked of a bucket. `@silt/aws` has one; every method throws `unavailable` when S3 fails. */
export interface SourceBucket {
  read(
    key: string,
    options: { readonly bytesMax: number; readonly signal?: AbortSignal | undefined },
  ): Promise<
    | {
        readonly outcome: "found";
        readonly bytes: Uint8Array;
        /** User metadata, names in lower case. */
        readonly metadata: Readonly<Record<string, string>>;
        readonly sha256: string;
        /** Another one for other bytes; it says nothing of the metadata. */
        readonly etag: string;
      }
    | {
        readonly outcome: "too-large";
        readonly size: number;
        readonly metadata: Readonly<Record<string, string>>;
        readonly etag: string;
      }
    | { readonly outcome: "absent" }
    | { readonly outcome: "denied"; readonly reason: string }
  >;
  head(key: string): Promise<
    | {
        readonly outcome: "found";
        readonly metadata: Readonly<Record<string, string>>;
        readonly etag: string;
      }
    | { readonly outcome: "absent" | "denied" }
  >;
  /** Keys under `prefix`, ascending, after `after`, at most `limit` of them. */
  list(
    prefix: string,
    options: { readonly after?: string; readonly limit: number },
  ): Promise<readonly { readonly key: string }[]>;
}

const PAGE = 1_000;
const S3_URI = /^s3:\/\/([^/]+)(?:\/(.*))?$/s;

/** The name of an object as a source: the key as it is, nothing in it encoded. */
export function s3Uri(bucket: string, key: string): string {
  return `s3://${bucket}/${key}`;
}

export function isS3Uri(text: string): boolean {
  return /^s3:\/\//i.test(text);
}

/** True for keys that are ingested: pictures by name, without what begins with a dot, as in folders. */
export function isImageKey(key: string): boolean {
  return isImageName(key) && !key.split("/").some((part) => part.startsWith("."));
}

/** Objects of buckets, by `s3://bucket/key`. The user metadata of an object tells about it. */
export function createS3Source(openBucket: (name: string) => Promise<SourceBucket>): ImageSource {
  const locate = async (uri: string) => {
    const { bucket, key } = parseS3Uri(uri);
    return { bucket: await openBucket(bucket), key };
  };
  return {
    async openRoot(place) {
      const { bucket, key } = parseS3Uri(place);
      return openRoot(await openBucket(bucket), place, bucket, key.replace(/\/+$/, ""));
    },
    async *walk(roots, options) {
      for (const root of roots) {
        const { bucket } = await locate(root.uri);
        yield* walkRoot(bucket, root, options);
      }
    },
    async read(uri, { signal } = {}) {
      const { bucket, key } = await locate(uri);
      const object = await bucket.read(key, { bytesMax: IMAGE_BYTES_MAX, signal });
      return sourceReadOf(uri, object);
    },
    async stampOf(uri) {
      const { bucket, key } = await locate(uri);
      const head = await bucket.head(key);
      if (head.outcome === "found") return stampOf(head);
      return head.outcome === "absent" ? GONE_STAMP : undefined;
    },
    async isGone(uri) {
      const { bucket, key } = await locate(uri);
      return (await bucket.head(key)).outcome === "absent";
    },
    // What S3 says to be absent is.
    hasRoot: async () => true,
    // An object has one name, whichever machine reads it.
    isOwn: ({ uri }) => isS3Uri(uri),
  };
}

function parseS3Uri(uri: string): { readonly bucket: string; readonly key: string } {
  const [, bucket, key = ""] = S3_URI.exec(uri) ?? [];
  if (bucket !== undefined) return { bucket, key };
  throw new SiltError("invalid", `Cannot ingest "${uri}": expected s3://bucket/prefix`);
}

/** A key that is there is a picture; anything else is a prefix, which some object must have. */
async function openRoot(
  bucket: SourceBucket,
  place: string,
  name: string,
  key: string,
): Promise<ImageRoot> {
  if (key === "") return { kind: "folder", path: `s3://${name}`, uri: `s3://${name}` };
  const uri = s3Uri(name, key);
  const [first] = await bucket.list(`${key}/`, { limit: 1 });
  if (first !== undefined) return { kind: "folder", path: uri, uri };
  const refuse = (state: string) =>
    new SiltError("invalid", `Cannot ingest "${place}": ${state}, expected a prefix or a picture`);
  const { outcome } = await bucket.head(key);
  if (outcome === "denied") throw refuse("it may not be read");
  if (outcome === "absent") throw refuse("there is no object of this name or prefix");
  if (!isImageName(key)) throw refuse("it is no picture");
  return { kind: "file", path: uri, uri };
}

async function* walkRoot(
  bucket: SourceBucket,
  root: ImageRoot,
  { signal }: WalkOptions = {},
): AsyncGenerator<ImageFile, void> {
  if (root.kind === "file") {
    yield { uri: root.uri, root: root.uri.slice(0, root.uri.lastIndexOf("/")) };
    return;
  }
  const { bucket: name, key: folder } = parseS3Uri(root.uri);
  const prefix = folder === "" ? "" : `${folder}/`;
  for (let after: string | undefined; ; ) {
    signal?.throwIfAborted();
    const asked = { limit: PAGE, ...(after !== undefined && { after }) };
    const page = await bucket.list(prefix, asked);
    for (const { key } of page) {
      if (isImageKey(key.slice(prefix.length))) yield { uri: s3Uri(name, key), root: root.uri };
    }
    if (page.length < PAGE) return;
    after = page.at(-1)?.key;
  }
}

type SourceObject = Awaited<ReturnType<SourceBucket["read"]>>;

function sourceReadOf(uri: string, read: SourceObject): SourceRead {
  switch (read.outcome) {
    case "absent":
      return { outcome: "gone" };
    case "denied":
      return { outcome: "denied", reason: `Cannot read "${uri}": ${read.reason}` };
    case "too-large": {
      const reason = tooLargeReason("picture", read.size, IMAGE_BYTES_MAX);
      const stamp = stampOf(read);
      return { outcome: "unfit", digest: digestUnread(read), stamp, reason };
    }
    case "found": {
      const sidecar = sidecarOf(uri, read.metadata);
      const digest = digestOf(read.sha256, sidecar && sha256Of(sidecar.bytes));
      return { outcome: "read", digest, stamp: stampOf(read), bytes: read.bytes, sidecar };
    }
  }
}

/** Of an object that nobody reads: a hash as guards keep it, and of no picture's bytes. */
function digestUnread({ etag, size }: { readonly etag: string; readonly size: number }): string {
  return sha256Of(`unread object: ${canonicalJson({ etag, size })}`);
}

/** A copy of an object onto itself keeps its ETag and can bring other metadata. */
function stampOf(object: {
  readonly etag: string;
  readonly metadata: Readonly<Record<string, string>>;
}): string {
  return canonicalJson({ etag: object.etag, metadata: object.metadata });
}

function sidecarOf(uri: string, metadata: Readonly<Record<string, string>>) {
  const entries = Object.entries(metadata);
  if (entries.length === 0) return undefined;
  const decoded = Object.fromEntries(entries.map(([name, value]) => [name, decodeWords(value)]));
  const bytes = new TextEncoder().encode(canonicalJson(decoded));
  return { name: `metadata of ${uri}`, bytes };
}

/** S3 gives what is not ASCII as the encoded words of RFC 2047, and drops the blanks between them. */
function decodeWords(value: string): string {
  return value
    .replace(/(=\?utf-8\?[bq]\?[^?]*\?=)\s+(?==\?utf-8\?)/gi, "$1")
    .replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_, form: string, text: string) =>
      form.toLowerCase() === "b"
        ? Buffer.from(text, "base64").toString("utf8")
        : Buffer.from(quotedBytes(text), "latin1").toString("utf8"),
    );
}

function quotedBytes(text: string): string {
  return text
    .replaceAll("_", " ")
    .replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
