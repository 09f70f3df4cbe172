import type { S3Client } from "@aws-sdk/client-s3";
import { type Clock, type Logger, type Random, SiltError } from "@silt/core";
import { awsError, isDenied } from "./aws-error.ts";

/** Sizes in bytes; tests make them smaller. S3 takes no part under 5 MiB but the last. */
export interface S3Limits {
  /** Larger objects are stored in parts. They are in memory whole while they are sent. */
  readonly singlePutBytesMax: number;
  /** Of one part; more where 10,000 of them would not do. */
  readonly partBytesMin: number;
  /** Parts of one object that are sent at the same time. */
  readonly partsInFlightMax: number;
  /** Of one ranged read. */
  readonly readBytes: number;
  /** Ranges of one object that are fetched ahead of its reader. */
  readonly readsAheadMax: number;
}

const MIB = 1024 * 1024;
export const S3_LIMITS: S3Limits = {
  singlePutBytesMax: 64 * MIB,
  partBytesMin: 16 * MIB,
  partsInFlightMax: 4,
  readBytes: 8 * MIB,
  readsAheadMax: 3,
};
/** UTF-8 bytes of a key, prefix included. */
const KEY_BYTES_MAX = 1024;
/** Pauses before another try: doubled each time, and any part of that by chance. */
const PAUSE_MS_FIRST = 50;
const PAUSE_MS_MAX = 2_000;

/** What every operation on one store's objects needs. */
export interface S3Context {
  readonly client: S3Client;
  readonly bucket: string;
  /** `""`, or ends in `/`: two stores of one bucket never see each other. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger | undefined;
  readonly limits: S3Limits;
}

/** How messages name an object. */
export function nameInS3({ bucket, prefix }: S3Context, key: string): string {
  return `s3://${bucket}/${prefix}${key}`;
}

/** The bucket's key of a store's key; throws `invalid` for one that S3 cannot hold. */
export function bucketKey(context: S3Context, key: string): string {
  const whole = context.prefix + key;
  const bytes = Buffer.byteLength(whole);
  if (key !== "" && bytes <= KEY_BYTES_MAX) return whole;
  throw new SiltError(
    "invalid",
    `Cannot use "${nameInS3(context, key)}" as a key: it has ${bytes} bytes, expected a name and at most ${KEY_BYTES_MAX}`,
  );
}

/** Waits a random time that gets longer with each failure. */
export function pause({ clock, random }: S3Context, failures: number): Promise<void> {
  const most = Math.min(PAUSE_MS_FIRST * 2 ** (failures - 1), PAUSE_MS_MAX);
  return clock.sleep(Math.ceil(most * random.fraction()));
}

/**
 * `awsError()` for reads. Whoever may not list the prefix is told 403 for a missing key too: taken
 * for "absent", every bundle of a store would look lost (F57).
 */
export function s3ReadError(action: string, name: string, error: unknown): SiltError {
  const told = awsError(action, name, error);
  if (told === error || !isDenied(error)) return told;
  const advice =
    "without s3:ListBucket on its prefix a missing object looks denied too, so grant that beside s3:GetObject";
  return new SiltError(told.kind, `${told.message}; ${advice}`, { cause: error });
}
