import { createS3ObjectStore } from "@silt/aws";
import type { ObjectStore } from "@silt/core";
import { systemClock, systemRandom } from "@silt/local";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  clientsOf,
  MIB,
  newUser,
  openS3World,
  PREFIX,
  putBytes,
  readBytes,
  type S3World,
} from "./s3-world.fixture.ts";

const BYTES = Buffer.from("content");
let world: S3World;
const opened: Disposable[] = [];

beforeAll(async () => {
  world = await openS3World();
  await putBytes(world.store, "a/there", BYTES);
});
afterAll(async () => {
  for (const clients of opened) clients[Symbol.dispose]();
  await world[Symbol.asyncDispose]();
});

let users = 0;
/** A store as seen by a user of the account who may do this under its prefix, and nothing else. */
async function storeFor(actions: readonly string[], mayList: boolean): Promise<ObjectStore> {
  users += 1;
  const UserName = `${world.bucket}-user-${users}`;
  const bucket = `arn:aws:s3:::${world.bucket}`;
  const Statement: object[] = [
    { Effect: "Allow", Action: actions, Resource: `${bucket}/${PREFIX}*` },
  ];
  if (mayList) {
    const Condition = { StringLike: { "s3:prefix": `${PREFIX}*` } };
    Statement.push({ Effect: "Allow", Action: "s3:ListBucket", Resource: bucket, Condition });
  }
  const clients = await newUser(UserName, Statement);
  opened.push(clients);
  return world.open(PREFIX, clients);
}

function everyUse(store: ObjectStore, key: string): readonly (() => Promise<unknown>)[] {
  return [
    () => putBytes(store, key, BYTES),
    () => store.get(key, { bytesMax: 100 }),
    () => store.read(key),
    () => store.head(key),
    () => store.list("a/", { limit: 10 }),
    () => store.delete(key),
  ];
}

describe("who may do what", () => {
  it("F57 a missing object is absent to whoever may list the prefix", async () => {
    const store = await storeFor(["s3:GetObject"], true);
    expect(await readBytes(store, "a/there")).toEqual(BYTES);
    expect(await store.get("a/missing", { bytesMax: 100 })).toEqual({ outcome: "absent" });
    expect(await store.read("a/missing")).toEqual({ outcome: "absent" });
    expect(await store.head("a/missing")).toEqual({ outcome: "absent" });
  });

  it("F57 a missing object is never absent to whoever may not list the prefix", async () => {
    // S3 answers so; the API server of this suite says 404 to everybody, hence the proxy.
    world.proxy.onRequest(({ path }) =>
      path.endsWith("/a/missing")
        ? { kind: "answer", status: 403, code: "AccessDenied" }
        : undefined,
    );
    expect(await readBytes(world.store, "a/there")).toEqual(BYTES);
    for (const look of [
      () => world.store.get("a/missing", { bytesMax: 100 }),
      () => world.store.read("a/missing"),
      () => world.store.head("a/missing"),
    ]) {
      await expect(look()).rejects.toMatchObject({
        name: "SiltError",
        kind: "unavailable",
        message: expect.stringContaining("without s3:ListBucket on its prefix"),
      });
    }
    world.proxy.onRequest(() => undefined);
  });

  it("what is not granted is unavailable, and named", async () => {
    const reader = await storeFor(["s3:GetObject"], true);
    const direct = world.open(PREFIX);
    await expect(putBytes(reader, "a/new", BYTES)).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/access denied.*s3:PutObject/),
    });
    await expect(reader.delete("a/there")).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/access denied.*s3:DeleteObject/),
    });
    expect(await direct.head("a/new")).toEqual({ outcome: "absent" });
    expect(await direct.head("a/there")).toMatchObject({ outcome: "found" });
    const writer = await storeFor(["s3:PutObject"], true);
    await expect(writer.read("a/there")).rejects.toMatchObject({ kind: "unavailable" });
    await expect(writer.head("a/there")).rejects.toMatchObject({ kind: "unavailable" });
    const blind = await storeFor(["s3:GetObject"], false);
    await expect(blind.list("a/", { limit: 1 })).rejects.toMatchObject({ kind: "unavailable" });
  });

  it("whoever may only write can store in parts, too", async () => {
    const writer = await storeFor(["s3:PutObject", "s3:AbortMultipartUpload"], false);
    const big = Buffer.alloc(6 * MIB, 7);
    expect(await putBytes(writer, "a/big", big)).toMatchObject({ outcome: "stored" });
    expect(await putBytes(writer, "a/big", big)).toEqual({ outcome: "condition-failed" });
    expect(await world.unfinishedUploads()).toEqual([]);
  });

  it("wrong credentials are told to log in, by every operation", async () => {
    using nobody = clientsOf("AKIANOBODYKNOWSTHIS1", "secret");
    const store = world.open(PREFIX, nobody);
    for (const use of everyUse(store, "a/there")) {
      await expect(use()).rejects.toMatchObject({ name: "SiltError", kind: "unavailable" });
    }
    await expect(store.read("a/there")).rejects.toThrow(/log in/);
  });

  it("a login that is too old is told by head(), too, which S3 answers with 400 and no body", async () => {
    const status = 400;
    world.proxy.onRequest(() => ({ kind: "answer", status, code: "ExpiredToken" }));
    await expect(world.store.head("a/there")).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("log in"),
    });
    world.proxy.onRequest(() => undefined);
  });

  it("a bucket that is not there is a mistake of the operator, and nothing in it absent", async () => {
    const { s3 } = world.clients;
    const place = { client: s3, bucket: `${world.bucket}-typo`, prefix: PREFIX };
    const store = createS3ObjectStore(place, { clock: systemClock, random: systemRandom });
    for (const use of everyUse(store, "a/there")) {
      await expect(use()).rejects.toMatchObject({
        name: "SiltError",
        kind: "invalid",
        message: expect.stringContaining("the bucket is not there"),
      });
    }
  });
});

describe("two stores in one bucket", () => {
  it("never see, replace or delete each other's objects", async () => {
    const prefixes = ["iso/one/", "iso/one/two/", "iso/on/", "iso/one-more/"];
    for (const prefix of prefixes) {
      const put = await putBytes(world.open(prefix), "a/x.json", Buffer.from(prefix));
      expect(put, prefix).toMatchObject({ outcome: "stored" });
    }
    await world.open("iso/on/").delete("a/x.json");
    for (const prefix of ["iso/one/", "iso/one-more/"]) {
      const store = world.open(prefix);
      expect((await readBytes(store, "a/x.json"))?.toString()).toBe(prefix);
      const keys = (await store.list("a", { limit: 10 })).map(({ key }) => key);
      expect(keys).toEqual(["a/x.json"]);
    }
    expect(await world.open("iso/on/").list("", { limit: 10 })).toEqual([]);
  });

  it("need prefixes that end a name", () => {
    expect(() => world.open("one")).toThrow(/expected "one\/"/);
  });
});

describe("keys", () => {
  it("may have 1,024 bytes with the prefix, and no more", async () => {
    const longest =
      "ü".repeat((1024 - PREFIX.length - 1) / 2) + "x".repeat((1025 - PREFIX.length) % 2);
    const key = longest + "x".repeat(1024 - PREFIX.length - Buffer.byteLength(longest));
    expect(await putBytes(world.store, key, BYTES)).toMatchObject({ outcome: "stored" });
    expect(await readBytes(world.store, key)).toEqual(BYTES);
    for (const use of everyUse(world.store, `${key}x`).filter((_, use) => use !== 4)) {
      await expect(use()).rejects.toMatchObject({ name: "SiltError", kind: "invalid" });
    }
    await expect(world.store.head("")).rejects.toMatchObject({ kind: "invalid" });
  });

  it("list() gives 1,100 of them in the order of their UTF-8 bytes, in two requests", async () => {
    const odd = [
      "a b",
      "a+b",
      "a%2Fb",
      "a&b<c>",
      "ü",
      "\u{1F600}",
      "\uFFFD",
      "100% +?#=:@'\"",
      "日本/語",
    ];
    const keys = [
      ...Array.from({ length: 1_100 - odd.length }, (_, index) => `n/${index}`),
      ...odd,
    ];
    const store = world.open("many/");
    const batch = 100;
    for (let at = 0; at < keys.length; at += batch) {
      await Promise.all(keys.slice(at, at + batch).map((key) => putBytes(store, key, BYTES)));
    }
    const inOrder = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const { s3 } = world.clients;
    let requests = 0;
    s3.middlewareStack.add(
      (next) => (args) => {
        requests += 1;
        return next(args);
      },
      { step: "initialize", name: "countRequests" },
    );
    const listed = await store.list("", { limit: 5_000 });
    s3.middlewareStack.remove("countRequests");
    expect(listed.map(({ key }) => key)).toEqual(inOrder);
    expect(requests).toBe(2);
    const after = inOrder[49] ?? "";
    const page = await store.list("", { after, limit: 1_050 });
    expect(page.map(({ key }) => key)).toEqual(inOrder.slice(50));
    for (const key of odd) expect(await readBytes(store, key), key).toEqual(BYTES);
  });
});
