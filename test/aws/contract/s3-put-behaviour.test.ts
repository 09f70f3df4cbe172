import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HeadObjectCommand } from "@aws-sdk/client-s3";
import { sha256Of } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Fault, firstTimes, type SeenRequest } from "../faulty-proxy.fixture.ts";
import {
  MIB,
  openS3World,
  PREFIX,
  putBytes,
  randomBytes,
  readBytes,
  type S3World,
} from "./s3-world.fixture.ts";

const KEY = "a/segment.sqlite";
const isPut = ({ method, query }: SeenRequest) => method === "PUT" && !query.has("partNumber");
const isPart = ({ method, query }: SeenRequest) => method === "PUT" && query.has("partNumber");
const isBegin = ({ method, query }: SeenRequest) => method === "POST" && query.has("uploads");
const isComplete = ({ method, query }: SeenRequest) => method === "POST" && query.has("uploadId");
const isAbort = ({ method, query }: SeenRequest) => method === "DELETE" && query.has("uploadId");
const conflict: Fault = { kind: "answer", status: 409, code: "ConditionalRequestConflict" };
const slowDown: Fault = { kind: "answer", status: 503, code: "SlowDown" };

/** Three parts, the last of them short. */
const BIG = randomBytes(1, 11 * MIB);
const OTHER = randomBytes(2, 11 * MIB);

let world: S3World;
beforeEach(async () => {
  world = await openS3World();
});
afterEach(() => world[Symbol.asyncDispose]());

async function etagOf(bytes: Uint8Array): Promise<string> {
  const put = await putBytes(world.store, KEY, bytes);
  if (put.outcome !== "stored") throw new Error("expected the put to store");
  return put.etag;
}

/** Nothing of a put is left but the object that was there before. */
async function expectKept(bytes: Uint8Array | undefined): Promise<void> {
  const kept = await readBytes(world.store, KEY);
  expect(kept && sha256Of(kept)).toBe(bytes && sha256Of(bytes));
  expect(await world.unfinishedUploads()).toEqual([]);
}

describe("a put of one request", () => {
  const bytes = Buffer.from("pointer 1");

  it("keeps the SHA-256 of the whole beside the object, and S3 its own", async () => {
    await putBytes(world.store, KEY, bytes);
    expect(world.proxy.seen.map(({ method }) => method)).toEqual(["PUT"]);
    const Key = PREFIX + KEY;
    const head = await world.clients.s3.send(
      new HeadObjectCommand({ Bucket: world.bucket, Key, ChecksumMode: "ENABLED" }),
    );
    expect(head.Metadata).toEqual({ "silt-sha256": sha256Of(bytes) });
    expect(head.ChecksumSHA256).toBe(Buffer.from(sha256Of(bytes), "hex").toString("base64"));
  });

  it("F31 is refused by S3 when its bytes change on the way, and nothing is stored", async () => {
    world.proxy.onRequest(firstTimes(1, isPut, { kind: "damage-request" }));
    await expect(putBytes(world.store, KEY, bytes)).rejects.toMatchObject({ kind: "corrupt" });
    await expectKept(undefined);
  });

  it("F2 that meets 409 is tried again, and stores", async () => {
    world.proxy.onRequest(firstTimes(3, isPut, conflict));
    expect(await putBytes(world.store, KEY, bytes)).toMatchObject({ outcome: "stored" });
    expect(world.proxy.seen.filter(isPut)).toHaveLength(4);
    await expectKept(bytes);
  });

  it("F2 that meets 409 each time is not lost but unavailable, after a bounded number", async () => {
    world.proxy.onRequest((request) => (isPut(request) ? conflict : undefined));
    const put = putBytes(world.store, KEY, bytes);
    await expect(put).rejects.toMatchObject({ name: "SiltError", kind: "unavailable" });
    expect(world.proxy.seen.filter(isPut)).toHaveLength(8);
  });

  it("F2 with ifMatch on a key that is gone fails the condition, and stores nothing", async () => {
    const etag = await etagOf(bytes);
    await world.store.delete(KEY);
    const put = await putBytes(world.store, KEY, bytes, { ifMatch: etag });
    expect(put).toEqual({ outcome: "condition-failed" });
    await expectKept(undefined);
  });

  it("F1 whose answer is lost meets 412 from its own success, and reading tells", async () => {
    world.proxy.onRequest(firstTimes(1, isPut, { kind: "drop-answer" }));
    const put = await putBytes(world.store, KEY, bytes);
    expect(put).toEqual({ outcome: "condition-failed" });
    expect(world.proxy.seen.filter(isPut)).toHaveLength(2);
    await expectKept(bytes);
  });

  it("that is throttled is repeated, and never reaches a server is unavailable", async () => {
    world.proxy.onRequest(firstTimes(2, isPut, slowDown));
    expect(await putBytes(world.store, KEY, bytes)).toMatchObject({ outcome: "stored" });
    world.proxy.onRequest(() => ({ kind: "refuse" }));
    const refused = putBytes(world.store, "a/other", bytes);
    await expect(refused).rejects.toMatchObject({ name: "SiltError", kind: "unavailable" });
  });
});

describe("a put in parts", () => {
  it("stores what one request would, and keeps the SHA-256 of the whole and the part size", async () => {
    expect(await putBytes(world.store, KEY, BIG)).toMatchObject({ outcome: "stored" });
    const Key = PREFIX + KEY;
    const head = await world.clients.s3.send(
      new HeadObjectCommand({ Bucket: world.bucket, Key, ChecksumMode: "ENABLED" }),
    );
    expect(head.Metadata).toEqual({
      "silt-sha256": sha256Of(BIG),
      "silt-part-bytes": String(5 * MIB),
    });
    expect(head.ChecksumSHA256).toMatch(/-3$/);
    expect(world.proxy.seen.filter(isPart)).toHaveLength(3);
    await expectKept(BIG);
  });

  it("of a file reads no more parts ahead than may be under way", async () => {
    const folder = await mkdtemp(join(tmpdir(), "silt-parts-"));
    try {
      const path = join(folder, "segment.sqlite");
      const bytes = randomBytes(3, 26 * MIB);
      await writeFile(path, bytes);
      const told = { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
      const condition = { ifAbsent: true } as const;
      const put = await world.store.put(KEY, { kind: "file", path }, { condition, ...told });
      expect(put).toMatchObject({ outcome: "stored" });
      expect(world.proxy.seen.filter(isPart)).toHaveLength(6);
      expect(world.proxy.mostAtOnce(isPart)).toBeGreaterThan(1);
      expect(world.proxy.mostAtOnce(isPart)).toBeLessThanOrEqual(4);
      expect((await readBytes(world.store, KEY))?.equals(bytes)).toBe(true);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("with ifMatch replaces the object that has the ETag, and refuses an older one", async () => {
    const old = await etagOf(OTHER);
    const put = await putBytes(world.store, KEY, BIG, { ifMatch: old });
    expect(put).toMatchObject({ outcome: "stored" });
    const late = await putBytes(world.store, KEY, OTHER, { ifMatch: old });
    expect(late).toEqual({ outcome: "condition-failed" });
    await world.store.delete(KEY);
    const gone = await putBytes(world.store, KEY, OTHER, { ifMatch: old });
    expect(gone).toEqual({ outcome: "condition-failed" });
    await expectKept(undefined);
  });

  it("of a key that exists sends no part", async () => {
    await putBytes(world.store, KEY, Buffer.from("there"));
    world.proxy.clear();
    expect(await putBytes(world.store, KEY, BIG)).toEqual({ outcome: "condition-failed" });
    expect(world.proxy.seen.map(({ method }) => method)).toEqual(["HEAD"]);
    await expectKept(Buffer.from("there"));
  });

  it.each([{ condition: "ifAbsent" }, { condition: "ifMatch" }] as const)(
    "loses to a writer that came between its parts: $condition",
    async ({ condition }) => {
      const there = condition === "ifMatch" ? await etagOf(Buffer.from("before")) : undefined;
      const direct = world.open(PREFIX);
      const won = Buffer.from("the other writer's");
      const asked = there === undefined ? ({ ifAbsent: true } as const) : { ifMatch: there };
      world.proxy.onRequest(async (request) => {
        if (isComplete(request)) await putBytes(direct, KEY, won, asked);
        return undefined;
      });
      const put = await putBytes(world.store, KEY, BIG, asked);
      expect(put).toEqual({ outcome: "condition-failed" });
      await expectKept(won);
    },
  );

  it("lets exactly one of 4 writers win, and the others leave no parts", async () => {
    const puts = await Promise.all(
      [0, 1, 2, 3].map(async (writer) => {
        const bytes = Buffer.alloc(6 * MIB, writer);
        return { bytes, put: await putBytes(world.store, KEY, bytes) };
      }),
    );
    const winners = puts.filter(({ put }) => put.outcome === "stored");
    expect(winners).toHaveLength(1);
    await expectKept(winners[0]?.bytes);
  });

  it("F31 refuses another SHA-256 or length before the object appears, and leaves no parts", async () => {
    const etag = await etagOf(OTHER);
    const condition = { ifMatch: etag };
    const source = { kind: "bytes", bytes: BIG } as const;
    for (const told of [
      { bytes: BIG.byteLength, sha256: sha256Of(OTHER) },
      { bytes: BIG.byteLength - 1, sha256: sha256Of(BIG) },
      { bytes: BIG.byteLength + 1, sha256: sha256Of(BIG) },
    ]) {
      const put = world.store.put(KEY, source, { condition, ...told });
      await expect(put).rejects.toMatchObject({ name: "SiltError", kind: "corrupt" });
      await expectKept(OTHER);
    }
    expect(world.proxy.seen.filter(isComplete)).toHaveLength(1);
    expect(world.proxy.seen.filter(isAbort)).toHaveLength(1);
  });

  it("F31 is refused by S3 when a part changes on the way, and leaves no parts", async () => {
    world.proxy.onRequest(firstTimes(1, isPart, { kind: "damage-request" }));
    await expect(putBytes(world.store, KEY, BIG)).rejects.toMatchObject({ kind: "corrupt" });
    await expectKept(undefined);
  });

  it("F41 leaves no parts when one is refused, and repeats one that is throttled", async () => {
    const denied: Fault = { kind: "answer", status: 403, code: "AccessDenied" };
    world.proxy.onRequest((request) =>
      isPart(request) && request.query.get("partNumber") === "2" ? denied : undefined,
    );
    await expect(putBytes(world.store, KEY, BIG)).rejects.toMatchObject({ kind: "unavailable" });
    await expectKept(undefined);
    world.proxy.onRequest(firstTimes(2, isPart, slowDown));
    expect(await putBytes(world.store, KEY, BIG)).toMatchObject({ outcome: "stored" });
    await expectKept(BIG);
  });

  it("F2 that meets 409 at its end begins again, and leaves nothing of the first time", async () => {
    world.proxy.onRequest(firstTimes(1, isComplete, conflict));
    expect(await putBytes(world.store, KEY, BIG)).toMatchObject({ outcome: "stored" });
    expect(world.proxy.seen.filter(isBegin)).toHaveLength(2);
    await expectKept(BIG);
  });

  it("F1 whose last answer is lost is no failure of the object: it is there, whole", async () => {
    world.proxy.onRequest(firstTimes(1, isComplete, { kind: "drop-answer" }));
    const put = await putBytes(world.store, KEY, BIG);
    // The server remembers the upload and repeats its answer; with 412 it would be "condition-failed".
    expect(put).toMatchObject({ outcome: "stored" });
    await expectKept(BIG);
  });

  it("F1 whose upload is unknown when its lost answer is asked for again is unavailable", async () => {
    const forgotten: Fault = { kind: "answer", status: 404, code: "NoSuchUpload" };
    let completes = 0;
    world.proxy.onRequest((request) => {
      if (!isComplete(request)) return undefined;
      completes += 1;
      return completes === 1 ? { kind: "drop-answer" } : forgotten;
    });
    await expect(putBytes(world.store, KEY, BIG)).rejects.toMatchObject({ kind: "unavailable" });
    await expectKept(BIG);
  });
});
