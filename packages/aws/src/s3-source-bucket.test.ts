import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { S3Client } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createS3SourceBucket } from "./s3-source-bucket.ts";

const TERABYTE = 1024 ** 4;

/** Answers every GET with a terabyte of which one byte comes. */
let server: Server;
let client: S3Client;
let begun: number;
let left: PromiseWithResolvers<void>;
beforeEach(async () => {
  begun = 0;
  left = Promise.withResolvers();
  server = createServer((_, answer) => {
    begun += 1;
    answer.once("close", () => left.resolve());
    answer.writeHead(200, {
      "content-length": TERABYTE,
      etag: `"large"`,
      "x-amz-meta-shop": "Kino",
    });
    answer.write("x");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  client = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "AKIANOBODY", secretAccessKey: "secret" },
  });
});
afterEach(async () => {
  client.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

describe("createS3SourceBucket()", () => {
  it("read() says of an object that is too large what its headers say, and leaves its body", async () => {
    const read = await createS3SourceBucket(client, "b").read("a.png", { bytesMax: 100 });
    expect(read).toEqual({
      outcome: "too-large",
      size: TERABYTE,
      etag: `"large"`,
      metadata: { shop: "Kino" },
    });
    await left.promise;
    expect(begun).toBe(1);
  });

  it("read() ends at the signal with its reason, in the middle of a body too, and is not tried again", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error("the time is up");
    client.middlewareStack.add((next) => async (asked) => {
      const answer = await next(asked);
      // With the headers there, and its body awaited.
      setImmediate(() => controller.abort(reason));
      return answer;
    });
    const bytesMax = 2 * TERABYTE;
    const sources = createS3SourceBucket(client, "b");
    await expect(sources.read("a.png", { bytesMax, signal })).rejects.toBe(reason);
    await left.promise;
    await expect(sources.read("a.png", { bytesMax, signal })).rejects.toBe(reason);
    expect(begun).toBe(1);
  });
});
