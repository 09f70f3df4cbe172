import {
  DeleteObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { type AwsClients, createAwsClients, createS3SourceBucket } from "@silt/aws";
import { sha256Of } from "@silt/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { firstTimes, startFaultyProxy } from "../faulty-proxy.fixture.ts";
import { ENDPOINT, newBucket, REGION, ROOT, rootClients } from "../test-account.fixture.ts";
import { clientsOf, newUser } from "./s3-world.fixture.ts";

const BYTES = Buffer.from("a picture");
let clients: AwsClients;
let bucket: string;
beforeAll(async () => {
  clients = rootClients();
  bucket = await newBucket(clients);
});
afterAll(() => clients[Symbol.dispose]());

const open = () => createS3SourceBucket(clients.s3, bucket);
const put = (Key: string, Body: Uint8Array = BYTES, Metadata: Record<string, string> = {}) =>
  clients.s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body, Metadata }));

describe("a bucket of sources", () => {
  it("gives an object with its hash and user metadata", async () => {
    await put("in/one.png", BYTES, { Shop: "Corner", place: "Bern" });
    expect(await open().read("in/one.png", { bytesMax: 100 })).toEqual({
      outcome: "found",
      bytes: BYTES,
      sha256: sha256Of(BYTES),
      metadata: { shop: "Corner", place: "Bern" },
      etag: expect.stringMatching(/^"\w+"$/),
    });
    expect(await open().head("in/one.png")).toMatchObject({ outcome: "found", bytes: 9 });
  });

  it("F16 a look tells by ETag and metadata whether the object is still the one that was read", async () => {
    const tagOf = (seen: object) => ({ etag: "", metadata: {}, ...seen });
    const read = async () => tagOf(await open().read("in/again.png", { bytesMax: 100 }));
    await put("in/again.png", BYTES, { Shop: "Corner" });
    const { etag, metadata } = await read();
    expect(await open().head("in/again.png")).toMatchObject({ etag, metadata });
    await put("in/again.png", BYTES, { Shop: "Other" });
    expect(await open().head("in/again.png")).toMatchObject({ etag, metadata: { shop: "Other" } });
    await put("in/again.png", Buffer.from("a pictura"), { Shop: "Corner" });
    expect(tagOf(await open().head("in/again.png")).etag).not.toBe(etag);
  });

  it("says of what is too large which object it is, the same each time, and gives what just fits", async () => {
    await put("in/large.png", BYTES, { Shop: "Corner" });
    const etag = expect.stringMatching(/^"\w+"$/);
    const large = { outcome: "too-large", size: 9, metadata: { shop: "Corner" }, etag };
    const read = await open().read("in/large.png", { bytesMax: 8 });
    expect(read).toEqual(large);
    expect(await open().read("in/large.png", { bytesMax: 8 })).toEqual(read);
    const fits = await open().read("in/large.png", { bytesMax: 9 });
    expect(fits).toMatchObject({ outcome: "found" });
  });

  it("says that a missing object is absent", async () => {
    expect(await open().read("in/missing.png", { bytesMax: 100 })).toEqual({ outcome: "absent" });
    expect(await open().head("in/missing.png")).toEqual({ outcome: "absent" });
  });

  it("takes a bucket that is not there for a mistake, and nothing in it for absent", async () => {
    const typo = createS3SourceBucket(clients.s3, `${bucket}-typo`);
    for (const look of [
      () => typo.read("in/one.png", { bytesMax: 100 }),
      () => typo.head("in/one.png"),
      () => typo.list("in/", { limit: 10 }),
    ]) {
      await expect(look()).rejects.toMatchObject({ name: "SiltError", kind: "invalid" });
    }
  });

  it("F57 says denied with what to grant, but throws when nobody is logged in", async () => {
    await put("in/secret.png");
    const other = { Effect: "Allow", Action: "sqs:ListQueues", Resource: "*" };
    using user = await newUser(`${bucket}-user`, [other]);
    const denied = createS3SourceBucket(user.s3, bucket);
    const expected = { outcome: "denied", reason: expect.stringContaining("s3:ListBucket") };
    expect(await denied.read("in/secret.png", { bytesMax: 100 })).toEqual(expected);
    expect(await denied.head("in/secret.png")).toEqual(expected);
    await expect(denied.list("in/", { limit: 10 })).rejects.toMatchObject({ kind: "unavailable" });
    using nobody = clientsOf("AKIANOBODYKNOWSTHIS2", "secret");
    const stranger = createS3SourceBucket(nobody.s3, bucket);
    await expect(stranger.read("in/secret.png", { bytesMax: 100 })).rejects.toMatchObject({
      kind: "unavailable",
    });
  });

  it("F16 gives the newest version, and a deleted object of a versioned bucket is absent", async () => {
    const versioned = await newBucket(clients);
    const VersioningConfiguration = { Status: "Enabled" } as const;
    await clients.s3.send(
      new PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration }),
    );
    const sources = createS3SourceBucket(clients.s3, versioned);
    const at = { Bucket: versioned, Key: "in/a.png" };
    for (const Body of ["old", "new"]) await clients.s3.send(new PutObjectCommand({ ...at, Body }));
    const newest = await sources.read("in/a.png", { bytesMax: 100 });
    expect(newest).toMatchObject({ outcome: "found", sha256: sha256Of("new") });
    await clients.s3.send(new DeleteObjectCommand(at));
    expect(await sources.read("in/a.png", { bytesMax: 100 })).toEqual({ outcome: "absent" });
    expect(await sources.head("in/a.png")).toEqual({ outcome: "absent" });
    expect(await sources.list("in/", { limit: 10 })).toEqual([]);
  });

  it("lists keys with their sizes, and gives each by the key that it listed", async () => {
    const keys = [
      "list/a b+c.png",
      "list/caf\u00e9/\u{1F600}.png",
      "list/100%25.png",
      "list/&<>.png",
    ];
    for (const key of keys) await put(key);
    const inOrder = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const listed = await open().list("list/", { limit: 10 });
    expect(listed.map(({ key }) => key)).toEqual(inOrder);
    for (const { key, bytes } of listed) {
      expect(bytes).toBe(9);
      expect(await open().read(key, { bytesMax: 100 }), key).toMatchObject({ outcome: "found" });
    }
    const [first = "", ...rest] = inOrder;
    const page = await open().list("list/", { after: first, limit: 2 });
    expect(page.map(({ key }) => key)).toEqual(rest.slice(0, 2));
  });

  it("reads an object again when its connection breaks, a bounded number of times", async () => {
    await put("in/broken.png");
    await using proxy = await startFaultyProxy(ENDPOINT);
    const { endpoint } = proxy;
    using proxied = createAwsClients({ endpoint, region: REGION, credentials: ROOT });
    const sources = createS3SourceBucket(proxied.s3, bucket);
    const isGet = ({ method }: { readonly method: string }) => method === "GET";
    proxy.onRequest(firstTimes(2, isGet, { kind: "cut-body", afterBytes: 3 }));
    const read = await sources.read("in/broken.png", { bytesMax: 100 });
    expect(read).toMatchObject({ sha256: sha256Of(BYTES) });
    proxy.onRequest(() => ({ kind: "cut-body", afterBytes: 3 }));
    proxy.clear();
    const broken = sources.read("in/broken.png", { bytesMax: 100 });
    await expect(broken).rejects.toMatchObject({ name: "SiltError", kind: "unavailable" });
    expect(proxy.seen).toHaveLength(5);
  });
});
