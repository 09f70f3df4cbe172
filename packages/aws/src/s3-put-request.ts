/** What one put is made of, whether it is one request or many. */
import { open } from "node:fs/promises";
import { type ObjectSource, SiltError } from "@silt/core";
import { checkLength, type ExpectedObject } from "./object-checksum.ts";

/** User metadata of every object: hexadecimal SHA-256 of the whole, which S3 lacks for parts. */
export const SHA256_METADATA = "silt-sha256";

/** Bytes that are read once, in order. */
export interface OpenSource extends AsyncDisposable {
  /** The next `length` bytes, fewer only at the end. */
  read(length: number): Promise<Uint8Array>;
}

/** One put: where to, what, and under which condition. */
export interface PutRequest extends ExpectedObject {
  readonly key: string;
  /** As parameters of the SDK. */
  readonly condition: { readonly IfNoneMatch: "*" } | { readonly IfMatch: string };
  readonly open: () => Promise<OpenSource>;
}

/** The ETag of an answer, quotes included: it is only ever given back. */
export function etagOf({ name }: ExpectedObject, etag: string | undefined): string {
  if (etag !== undefined) return etag;
  throw new SiltError(
    "unavailable",
    `Cannot store "${name}": the answer has no ETag, expected one; try again`,
  );
}

/** Opens what is to be stored, once for each try; throws `corrupt` unless it has its length. */
export async function openSource(
  source: ObjectSource,
  expected: ExpectedObject,
): Promise<OpenSource> {
  let at = 0;
  if (source.kind === "bytes") {
    checkLength(expected, source.bytes.byteLength);
    return {
      async read(length) {
        const bytes = source.bytes.subarray(at, at + length);
        at += bytes.byteLength;
        return bytes;
      },
      async [Symbol.asyncDispose]() {},
    };
  }
  const file = await open(source.path, "r");
  try {
    checkLength(expected, (await file.stat()).size);
  } catch (error) {
    await file.close();
    throw error;
  }
  return {
    async read(length) {
      const buffer = Buffer.allocUnsafeSlow(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await file.read(buffer, filled, length - filled, at);
        if (bytesRead === 0) break;
        filled += bytesRead;
        at += bytesRead;
      }
      return buffer.subarray(0, filled);
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}
