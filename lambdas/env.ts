/** The environment of the functions, read here and nowhere else. */
import { SiltError } from "@silt/core";
import { z } from "zod";
import { type Location, parseLocation } from "../packages/silt/src/location.ts";

export interface Env {
  /** Of the store, as `openStore` takes it. */
  readonly store: string;
  readonly location: Location;
  /** Made where they are missing. */
  readonly collections: readonly CollectionSpec[];
  /** Where readers keep verified segments. */
  readonly cacheFolder: string;
  /** What these may take together; undefined: the library's own limit. */
  readonly cacheBytesMax: number | undefined;
  /** Memory for vectors that are searched; undefined where no function's memory is known. */
  readonly vectorBytesMax: number | undefined;
  readonly textEmbedder: string | undefined;
  readonly imageEmbedder: string | undefined;
  readonly pipeline: "auto" | "text" | "image";
  /** Before its time limit a function stops by so much, and answers. */
  readonly marginMs: number;
  /** What a compaction may use for temporary files, where that is less than what is free. */
  readonly diskBytes: number | undefined;
  /** Somebody collects traces. */
  readonly isTraced: boolean;
}

const collection = z.strictObject({
  name: z.string(),
  dimension: z.number().int().optional(),
  metric: z.enum(["cosine", "l2", "ip"]).optional(),
  embedder: z.string().optional(),
  shards: z.number().int().optional(),
  policy: z.enum(["tiered", "single"]).optional(),
});
export type CollectionSpec = z.infer<typeof collection>;

const MARGIN_MS = 10_000;
const MARGIN_MS_MAX = 600_000;
const CACHE_FOLDER = "/tmp/silt-cache";

/** The rest is for the runtime, models, and what a query builds up. */
const VECTOR_SHARE = 0.5;
const MIB = 1024 * 1024;
const vectorBytesOf = (megabytes: number | undefined) =>
  megabytes === undefined ? undefined : megabytes * MIB * VECTOR_SHARE;

const json = z.string().transform((text, context) => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    context.addIssue({ code: "custom", message: "it is not JSON" });
    return z.NEVER;
  }
});

const variables = z.object({
  SILT_STORE: z.string(),
  SILT_COLLECTIONS: json.pipe(z.array(collection)).default([]),
  SILT_CACHE: z.string().min(1).default(CACHE_FOLDER),
  SILT_CACHE_BYTES: z.coerce.number().int().positive().optional(),
  SILT_TEXT_EMBEDDER: z.string().min(1).optional(),
  SILT_IMAGE_EMBEDDER: z.string().min(1).optional(),
  SILT_PIPELINE: z.enum(["auto", "text", "image"]).default("auto"),
  SILT_MARGIN_MS: z.coerce.number().int().min(0).max(MARGIN_MS_MAX).default(MARGIN_MS),
  SILT_DISK_BYTES: z.coerce.number().int().positive().optional(),
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE: z.coerce.number().int().positive().optional(),
  AWS_XRAY_DAEMON_ADDRESS: z.string().optional(),
});

/** Parses the environment. Throws `invalid` with the name of a variable that is missing or wrong. */
export function readEnv(from: Readonly<Record<string, string | undefined>> = process.env): Env {
  const parsed = variables.safeParse(from);
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues as [z.core.$ZodIssue];
    throw new SiltError("invalid", `Cannot read the environment: ${path.join(".")}: ${message}`);
  }
  const { data } = parsed;
  return {
    store: data.SILT_STORE,
    location: parseLocation(data.SILT_STORE),
    collections: data.SILT_COLLECTIONS,
    cacheFolder: data.SILT_CACHE,
    cacheBytesMax: data.SILT_CACHE_BYTES,
    vectorBytesMax: vectorBytesOf(data.AWS_LAMBDA_FUNCTION_MEMORY_SIZE),
    textEmbedder: data.SILT_TEXT_EMBEDDER,
    imageEmbedder: data.SILT_IMAGE_EMBEDDER,
    pipeline: data.SILT_PIPELINE,
    marginMs: data.SILT_MARGIN_MS,
    diskBytes: data.SILT_DISK_BYTES,
    isTraced: data.AWS_XRAY_DAEMON_ADDRESS !== undefined,
  };
}
