import { z } from "zod";

/** An object that something happened to. What, is not asked: a late event must not undo a newer one. */
export interface EventObject {
  readonly bucket: string;
  /** Decoded. */
  readonly key: string;
}

const s3Event = z.object({
  Records: z.array(
    z.object({
      eventSource: z.literal("aws:s3"),
      s3: z.object({
        bucket: z.object({ name: z.string().min(1) }),
        object: z.object({ key: z.string().min(1) }),
      }),
    }),
  ),
});
/** S3 sends one, without records, when notifications are set up. */
const testEvent = z.object({ Event: z.literal("s3:TestEvent") });

/** The objects of an S3 event; undefined for what is none. */
export function parseS3Event(body: string): readonly EventObject[] | undefined {
  try {
    const value: unknown = JSON.parse(body);
    if (testEvent.safeParse(value).success) return [];
    return s3Event.parse(value).Records.map(({ s3 }) => ({
      bucket: s3.bucket.name,
      key: decodeKey(s3.object.key),
    }));
  } catch {
    return undefined;
  }
}

/** Keys come encoded as in a form: "+" for a blank. Throws for a key that is not. */
function decodeKey(encoded: string): string {
  return decodeURIComponent(encoded.replaceAll("+", " "));
}
