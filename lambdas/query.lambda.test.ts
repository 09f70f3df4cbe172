import { readFileSync } from "node:fs";
import { SiltError } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pictureFolder } from "../packages/silt/src/ingest/pictures.fixture.ts";
import type { Store } from "../packages/silt/src/serverless.ts";
import {
  type TemporaryStore,
  temporaryStore,
} from "../packages/silt/src/temporary-store.fixture.ts";
import { createQueryHandler, type HttpAnswer } from "./query.lambda.ts";
import { type TestWiring, testContext, testWiring } from "./wiring.fixture.ts";

let temporary: TemporaryStore;
let store: Store;
let wiring: TestWiring;
let handle: ReturnType<typeof createQueryHandler>;
beforeEach(async () => {
  temporary = await temporaryStore();
  store = temporary.store;
  wiring = testWiring(store);
  handle = createQueryHandler(wiring);
  const notes = await store.collection("notes", { dimension: 2 });
  const metadata = (shop: string) => ({ metadata: { shop } });
  await notes.put([
    { id: "a", parent: "p", embedding: [1, 0], document: "two coffees", ...metadata("Kino") },
    { id: "b", parent: "p", embedding: [0, 1], document: "one tea", ...metadata("Velo") },
  ]);
});
afterEach(() => temporary[Symbol.asyncDispose]());

/** As a function URL sends it. */
function httpEvent(body: unknown, method = "POST", path = "/", isBase64Encoded = false) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath: path,
    rawQueryString: "",
    headers: { "content-type": "application/json" },
    requestContext: {
      accountId: "000000000000",
      apiId: "abc",
      domainName: "abc.lambda-url.us-east-1.on.aws",
      domainPrefix: "abc",
      http: { method, path, protocol: "HTTP/1.1", sourceIp: "192.0.2.1", userAgent: "curl" },
      requestId: "id",
      routeKey: "$default",
      stage: "$default",
      time: "28/Nov/2026:21:00:00 +0000",
      timeEpoch: 1_796_000_000_000,
    },
    ...(method !== "GET" && {
      body: isBase64Encoded ? Buffer.from(text).toString("base64") : text,
    }),
    isBase64Encoded,
  };
}

async function http(...event: Parameters<typeof httpEvent>) {
  const answer = (await handle(httpEvent(...event), testContext())) as HttpAnswer;
  return { status: answer.statusCode, json: JSON.parse(answer.body), headers: answer.headers };
}

const direct = (event: unknown) => handle(event, testContext());

describe("the query function", () => {
  it("answers what the command answers with --json, over HTTP and directly", async () => {
    const request = { collection: "notes", vector: [1, 0.1], k: 1, fresh: true };
    const { status, json, headers } = await http(request);
    expect([status, headers["content-type"]]).toEqual([200, "application/json"]);
    expect(json).toMatchObject({ collection: "notes", behind: 0, results: [{ id: "a" }] });
    expect(await direct(request)).toEqual(json);
    expect((await http(request, "POST", "/", true)).json).toEqual(json);
    const filtered = { ...request, where: { shop: { $in: ["Velo"] } } };
    expect((await http(filtered)).json.results).toMatchObject([{ id: "b" }]);
    const inDocument = { ...request, whereDocument: { $contains: "tea" } };
    expect((await http(inDocument)).json.results).toMatchObject([{ id: "b" }]);
  });

  it("gets records by id, parent and filter, with their embeddings when asked", async () => {
    const get = { op: "get", collection: "notes", fresh: true };
    const byId = await http({ ...get, ids: ["b", "none", "a"], embeddings: true });
    expect(byId.json).toMatchObject({
      more: false,
      records: [
        { id: "b", embedding: [0, 1] },
        { id: "a", embedding: [1, 0] },
      ],
    });
    const byParent = await http({ ...get, parent: "p", limit: 1 });
    expect(byParent.json).toMatchObject({
      more: true,
      records: [{ id: "a", document: "two coffees" }],
    });
    expect(byParent.json.records[0]).not.toHaveProperty("embedding");
    const old = await http({ op: "get", collection: "notes", version: 0 });
    expect(old.json).toMatchObject({ version: 0, records: [] });
  });

  it("takes a picture as base64", async () => {
    using pictures = pictureFolder();
    await pictures.paint("a.png", 1);
    await store.ingest([pictures.path], { pipeline: "image" });
    const image = readFileSync(pictures.pathOf("a.png")).toString("base64");
    const { json } = await http({ collection: "images", image, fresh: true });
    expect(json.results[0]).toMatchObject({ id: `${pictures.uriOf("a.png")}#image` });
    expect(json.results[0].distance).toBeCloseTo(0, 5);
  });

  it("refuses bad requests with 400 and the reason, and logs none of them", async () => {
    const bad: readonly (readonly [unknown, string])[] = [
      ["{", "not JSON"],
      [[], "request"],
      [{ collection: "notes" }, "0 of text, vector and image"],
      [{ collection: "notes", vector: [1, 2, 3] }, "dimension"],
      [{ collection: "notes", vector: ["1", 2] }, "vector.0"],
      [{ collection: "notes", vector: [1, 2], k: 1_001 }, '"k"'],
      [{ collection: "notes", vector: [1, 2], top: 3 }, "top"],
      [{ collection: "notes", image: "???" }, "image"],
      [{ collection: "notes", vector: [1, 2], fresh: true, version: 1 }, "fresh and version"],
      [{ collection: "notes", vector: [1, 2], where: { a: { $like: 1 } } }, "$like"],
      [{ collection: "none", vector: [1, 2] }, "does not exist"],
      [{ op: "drop", collection: "notes" }, "op"],
      [{ collection: "notes", text: "x".repeat(5_500_000) }, "5500032 bytes"],
    ];
    for (const [body, reason] of bad) {
      const { status, json } = await http(body);
      expect([status, json], reason).toEqual([
        400,
        { error: { kind: "invalid", message: expect.stringContaining(reason) } },
      ]);
    }
    expect(await direct({ collection: "none", vector: [1, 2] })).toMatchObject({
      error: { kind: "invalid" },
    });
    expect(wiring.lines).toEqual([]);
  });

  it.each([
    ["unavailable", 503],
    ["conflict", 409],
    ["corrupt", 500],
    ["internal", 500],
  ] as const)("a store that is %s answers %i, and works again afterwards", async (kind, status) => {
    let isDown = true;
    handle = createQueryHandler({
      ...wiring,
      store: async () => {
        if (isDown) throw new SiltError(kind, "Cannot open it");
        return store;
      },
    });
    const request = { collection: "notes", vector: [1, 0], fresh: true };
    expect(await http(request)).toMatchObject({
      status,
      json: { error: { kind, message: "Cannot open it" } },
    });
    const isOwnFault = kind !== "conflict";
    expect(wiring.lines).toHaveLength(isOwnFault ? 1 : 0);
    expect(wiring.values.get("FailedQueries")).toEqual(isOwnFault ? [1] : undefined);
    isDown = false;
    expect(await http(request)).toMatchObject({ status: 200 });
  });

  it("tells its health, and refuses other methods", async () => {
    expect(await http("", "GET", "/health")).toMatchObject({
      status: 200,
      json: { ok: true, collections: ["notes"] },
    });
    expect(await http("", "GET", "/")).toMatchObject({ status: 405 });
    expect(await http("{}", "PUT", "/")).toMatchObject({ status: 405 });
  });

  it("an answer that is too large for a function is refused with what to do", async () => {
    const notes = await store.collection("notes");
    const document = "x".repeat(1_000_000);
    await notes.put(
      [1, 2, 3, 4, 5, 6].map((n) => ({ id: `large-${n}`, embedding: [n, 1], document })),
    );
    const { status, json } = await http({ op: "get", collection: "notes", fresh: true });
    expect([status, json.error.message]).toEqual([400, expect.stringContaining("ask for fewer")]);
  });
});
