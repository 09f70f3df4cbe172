import { SiltError } from "@silt/core";
import { z } from "zod";

/** Numbers of records that an answer of 6 MB may hold. */
const K_MAX = 1_000;
const LIMIT_MAX = 10_000;
const LIMIT_DEFAULT = 100;
const VECTOR_MAX = 16_384;
const IDS_MAX = 10_000;

const filters = {
  collection: z.string(),
  where: z.looseObject({}).optional(),
  whereDocument: z.looseObject({}).optional(),
  fresh: z.boolean().optional(),
  version: z
    .union([z.number().int().min(0), z.record(z.string(), z.number().int().min(0))])
    .optional(),
};

const query = z.strictObject({
  op: z.literal("query").default("query"),
  ...filters,
  text: z.string().optional(),
  vector: z.array(z.number()).max(VECTOR_MAX).optional(),
  image: z.base64().optional(),
  k: z.number().int().min(1).max(K_MAX).optional(),
});

const get = z.strictObject({
  op: z.literal("get"),
  ...filters,
  ids: z.array(z.string()).max(IDS_MAX).optional(),
  parent: z.string().optional(),
  limit: z.number().int().min(1).max(LIMIT_MAX).default(LIMIT_DEFAULT),
  embeddings: z.boolean().optional(),
});

export type QueryRequest = z.infer<typeof query> | z.infer<typeof get>;

/** What a caller asks for. Throws `invalid` with the field that is wrong. */
export function parseRequest(value: unknown): QueryRequest {
  const isGet = (value as { op?: unknown } | null)?.op === "get";
  const parsed = (isGet ? get : query).safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = issue?.path.join(".") ?? "";
    const state = `${where === "" ? "" : `"${where}": `}${issue?.message}`;
    throw new SiltError("invalid", `Cannot read the request: ${state}`);
  }
  const { fresh, version } = parsed.data;
  if (fresh !== true || version === undefined) return parsed.data;
  throw new SiltError("invalid", "Cannot read: fresh and version are given, expected one");
}

/** Parses JSON of a bounded length. Throws `invalid`. */
export function parseBody(text: string, bytesMax: number): unknown {
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax) {
    throw new SiltError(
      "invalid",
      `Cannot read the request: it has ${bytes} bytes, expected at most ${bytesMax}`,
    );
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SiltError("invalid", "Cannot read the request: it is not JSON", { cause });
  }
}
