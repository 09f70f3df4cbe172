/**
 * Answers as JSON: over a function URL, whose callers IAM lets in or not, and by direct invocation. The
 * store stays open from one invocation to the next, with its segments in the cache folder.
 */
import { isSiltError, reasonOf, SiltError, type SiltErrorKind } from "@silt/core";
import type { LambdaFunctionURLEvent } from "aws-lambda";
import type { Store } from "../packages/silt/src/serverless.ts";
import { openEnvStore } from "./open-env-store.ts";
import { parseBody, parseRequest, type QueryRequest } from "./query-request.ts";
import { type Handle, lambda, once, type Wiring } from "./wiring.ts";

export interface HttpAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What Lambda takes and gives, less some room for what is around it. */
const BODY_BYTES_MAX = 5_500_000;
const STATUSES: Readonly<Record<SiltErrorKind, number>> = {
  invalid: 400,
  conflict: 409,
  fenced: 409,
  unavailable: 503,
  corrupt: 500,
  internal: 500,
};
/** Not the caller's fault: the caller learns the reason, and so do the log and an alarm. */
const OWN_FAULTS: readonly SiltErrorKind[] = ["corrupt", "internal", "unavailable"];

type Answer = { readonly status: number; readonly value: object };

export interface QueryWiring extends Pick<Wiring, "logger" | "metrics"> {
  readonly store: () => Promise<Store>;
}

export function createQueryHandler(wiring: QueryWiring): Handle<unknown, HttpAnswer | object> {
  const attempt = async (work: () => Promise<object>): Promise<Answer> => {
    try {
      return { status: 200, value: await work() };
    } catch (error) {
      const kind = isSiltError(error) ? error.kind : "internal";
      const message = reasonOf(error);
      if (OWN_FAULTS.includes(kind)) {
        wiring.logger.log("error", message, { kind });
        wiring.metrics.count("FailedQueries", 1);
      }
      return { status: STATUSES[kind], value: { error: { kind, message } } };
    }
  };
  return async (event) => {
    if (!isHttp(event)) return (await attempt(() => answer(wiring, event))).value;
    const { method, path } = event.requestContext.http;
    if (method === "GET" && path === "/health") {
      return httpAnswer(await attempt(() => health(wiring)));
    }
    if (method !== "POST") return httpAnswer(refusal(405, "expected POST, or GET /health"));
    return httpAnswer(
      await attempt(() => answer(wiring, parseBody(bodyOf(event), BODY_BYTES_MAX))),
    );
  };
}

function isHttp(event: unknown): event is LambdaFunctionURLEvent {
  const { requestContext } = (event ?? {}) as Partial<LambdaFunctionURLEvent>;
  return requestContext?.http !== undefined;
}

function bodyOf({ body = "", isBase64Encoded }: LambdaFunctionURLEvent): string {
  return isBase64Encoded ? Buffer.from(body, "base64").toString("utf8") : body;
}

async function health({ store }: Pick<QueryWiring, "store">): Promise<object> {
  return { ok: true, collections: await (await store()).collections() };
}

async function answer(wiring: Pick<QueryWiring, "store">, value: unknown): Promise<object> {
  const request = parseRequest(value);
  const answered = await read(await wiring.store(), request);
  const bytes = Buffer.byteLength(JSON.stringify(answered));
  if (bytes <= BODY_BYTES_MAX) return answered;
  throw new SiltError(
    "invalid",
    `Cannot answer: the answer has ${bytes} bytes, expected at most ${BODY_BYTES_MAX}; ask for fewer records`,
  );
}

/** The same as `--json` of the command. */
async function read(store: Store, request: QueryRequest): Promise<object> {
  const collection = await store.collection(request.collection);
  if (request.op === "query") {
    const { op: _, collection: __, image, ...query } = request;
    const bytes = image === undefined ? undefined : Buffer.from(image, "base64");
    return collection.query({ ...query, image: bytes });
  }
  const { op: _, collection: __, limit, ...get } = request;
  // One more tells whether there are more.
  const answered = await collection.get({ ...get, limit: limit + 1 });
  const records = answered.records
    .slice(0, limit)
    .map(({ embedding, ...record }) =>
      embedding === undefined ? record : { ...record, embedding: Array.from(embedding) },
    );
  return { ...answered, records, more: answered.records.length > limit };
}

const refusal = (status: number, state: string): Answer => ({
  status,
  value: { error: { kind: "invalid", message: `Cannot answer: ${state}` } },
});

function httpAnswer({ status, value }: Answer): HttpAnswer {
  const headers = { "content-type": "application/json" };
  return { statusCode: status, headers, body: JSON.stringify(value) };
}

export const handler = lambda<unknown, HttpAnswer | object>((wiring) => {
  const store = once(() => openEnvStore(wiring.env, wiring, { create: false }));
  return createQueryHandler({ ...wiring, store });
});
