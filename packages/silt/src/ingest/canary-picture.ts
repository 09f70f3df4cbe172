import { isSiltError } from "@silt/core";
import type { ExtractPool } from "./extract-pool.ts";
import type { IngestTargets } from "./open-targets.ts";

/** A PNG of 240 x 60 pixels that reads "canary sings", so that every part of the pipeline has to work. */
const CANARY = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAPAAAAA8AgMAAAAlEd/OAAAADFBMVEX///8MDAxjY2O3t7fJRlAjAAAACXBIWXMAAAsTAAALEwEAmpwY" +
    "AAACIElEQVRIx+2VsY7TQBCG/81qkSydc1VS0+wjpIAmfgQXniRKXBikFMAVfgS3PIBjHoBIl9xJ0NBb4hkMLRXFVWlzAo7ZdQK5" +
    "rJEioUNC8q/ISsbzbWb/Ga+BVq1atfoXOv8beFD+l/CDqnsF3FxDbm5KyHWJ84+X3wD+4OkVuz3sXnLO9ZDvbVy4osSjEcQziqFp" +
    "AvUhiiBjQBIFg1JrKjlH23vHkqNVol7mmZivIvTWI6j8bYFOCPjTlYEXy5RzCNX6jQP7MTZn8FIxRoHH0KWK0YdIAC9AyXDqJyKW" +
    "hAhnDuyl5io4gRlAZSqFtlGVmVbprBP6CXJMGvwyKeAyRcgMr5WpgBG+7OGyE3INvUbYjsHtKuRCNTu6DJhRgYl6FxZm85SBF2Uz" +
    "3CWq4QEbzLCfmiIEXezhjOFq5NKaQ+rVjxqu3m0NLBKzfeRU/oLZBkoa/9nsy8IFW8yZnbCwXcyDg7KxjVyYbeljB/OIGFjGtTte" +
    "UsPWMKBw3Q4MLO7BKGLUDaxhP0UF2Fa6fe7B28PawlV4D+Y2Ev/85MBigi860zW8QG7hnvHmES9cw3L8nWSKsTvbNE/UdLRze/7C" +
    "wtqMnZpSVsPs+1dJy4Yx0ZT69Hzf59cWtmPn0XjXZzyZ9XmB1IUlP7p3B99/nz7Dgwe4D3l34gGhncjn00+XY19LGZ3MDo9TZ9v4" +
    "ZLh3nEpNZv1py++PArez9s3bqtVD6yeVtqtTFfGVSAAAAABJRU5ErkJggg==",
  "base64",
);

/**
 * True when a picture that is known to be good gets through the same pipeline: then engine and models
 * work, and what another picture did to them is that picture's own fault.
 */
export async function canaryGetsThrough(
  pool: ExtractPool,
  { pipeline, textEmbedder, imageEmbedder }: IngestTargets,
): Promise<boolean> {
  try {
    const { lines, images } = await pool.extract({
      uri: "silt:canary.png",
      bytes: CANARY,
      metadata: {},
      pipeline,
      textEmbedder,
      imageEmbedder,
    });
    const hasText = pipeline === "image" || lines.records.length > 0;
    return hasText && (pipeline === "text" || images.records.length > 0);
  } catch (error) {
    if (isSiltError(error)) return false;
    throw error;
  }
}
