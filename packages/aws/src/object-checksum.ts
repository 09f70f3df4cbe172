import { SiltError } from "@silt/core";

/** What S3 compares with what arrived: the base64 of a SHA-256 given as 64 hexadecimal digits. */
export function checksumOf(sha256: string): string {
  return Buffer.from(sha256, "hex").toString("base64");
}

/** What the bytes of an object must be. */
export interface ExpectedObject {
  /** For messages, e.g. `s3://bucket/prefix/key`. */
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Throws `corrupt` unless what was read for storing is what was announced. */
export function checkObject(expected: ExpectedObject, bytes: number, sha256: string): void {
  checkLength(expected, bytes);
  if (sha256 === expected.sha256) return;
  throw new SiltError(
    "corrupt",
    `Cannot store "${expected.name}": its bytes have SHA-256 ${sha256}, expected ${expected.sha256}; nothing was stored`,
  );
}

/** Throws `corrupt` unless the source is as long as announced. */
export function checkLength(expected: ExpectedObject, bytes: number): void {
  if (bytes === expected.bytes) return;
  throw new SiltError(
    "corrupt",
    `Cannot store "${expected.name}": the source has ${bytes} bytes, expected ${expected.bytes}; nothing was stored`,
  );
}
