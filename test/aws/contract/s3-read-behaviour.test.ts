import { sha256Of } from "@silt/core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
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
/** Six ranges, the last of them short. */
const BIG = randomBytes(1, 5 * MIB + 17);
const SMALL = Buffer.from("pointer 1");
/** How long a condition is waited for on a busy machine. */
const PATIENCE = { timeout: 20_000, interval: 2 };
const isGet = ({ method }: SeenRequest) => method === "GET";
const rangeOf = ({ headers }: SeenRequest) => headers.range;

let world: S3World;
beforeAll(async () => {
  world = await openS3World();
});
afterAll(() => world[Symbol.asyncDispose]());
beforeEach(async () => {
  await putBytes(world.open(PREFIX), KEY, BIG);
  world.proxy.onRequest(() => undefined);
  world.proxy.clear();
});
afterEach(() => world.store.delete(KEY));

async function bodyOf(key: string): Promise<AsyncIterable<Uint8Array>> {
  const found = await world.store.read(key);
  if (found.outcome === "absent") throw new Error(`expected ${key}`);
  return found.body;
}

const ranges = (request: SeenRequest) => isGet(request) && rangeOf(request) !== undefined;
const cut = (afterBytes: number): Fault => ({ kind: "cut-body", afterBytes });

describe("what is small", () => {
  it("I8 takes one request for each operation, whatever the object", async () => {
    const requests = async (operation: () => Promise<unknown>) => {
      world.proxy.clear();
      await operation();
      return world.proxy.seen.length;
    };
    const { store } = world;
    expect(await requests(() => putBytes(store, "b/small", SMALL))).toBe(1);
    expect(await requests(() => readBytes(store, "b/small"))).toBe(1);
    expect(await requests(() => store.get("b/small", { bytesMax: 100 }))).toBe(1);
    expect(await requests(() => store.head("b/small"))).toBe(1);
    expect(await requests(() => store.list("b/", { limit: 1_000 }))).toBe(1);
    expect(await requests(() => store.delete("b/small"))).toBe(1);
    expect(await requests(() => store.read("b/small"))).toBe(1);
    await putBytes(store, "b/empty", Buffer.alloc(0));
    expect(await requests(() => readBytes(store, "b/empty"))).toBe(1);
    expect(await requests(() => readBytes(store, KEY))).toBe(6);
  });

  it("is asked for again when its body breaks, and unavailable when it always does", async () => {
    await putBytes(world.store, "b/broken", SMALL);
    world.proxy.onRequest(firstTimes(3, isGet, cut(4)));
    const found = await world.store.get("b/broken", { bytesMax: 100 });
    expect(found).toMatchObject({ outcome: "found", bytes: SMALL });
    world.proxy.onRequest(() => cut(4));
    world.proxy.clear();
    const broken = world.store.get("b/broken", { bytesMax: 100 });
    await expect(broken).rejects.toMatchObject({ name: "SiltError", kind: "unavailable" });
    expect(world.proxy.seen.length).toBeLessThanOrEqual(9);
  });

  it("F31 is damage when its bytes are not those of its checksum", async () => {
    await putBytes(world.store, "b/damaged", SMALL);
    world.proxy.onRequest(() => ({ kind: "damage-answer" }));
    const damaged = world.store.get("b/damaged", { bytesMax: 100 });
    await expect(damaged).rejects.toMatchObject({ name: "SiltError", kind: "corrupt" });
  });

  it("is refused over bytesMax without taking its body", async () => {
    await putBytes(world.open(PREFIX), "b/huge", Buffer.alloc(24 * MIB));
    const huge = world.store.get("b/huge", { bytesMax: MIB });
    await expect(huge).rejects.toMatchObject({ name: "SiltError", kind: "invalid" });
    await vi.waitFor(
      () => expect(world.proxy.seen.map(({ ended }) => ended)).toEqual(["left"]),
      PATIENCE,
    );
  });
});

describe("a large body", () => {
  it("is read in ranges of one ETag, and goes on where connections break", async () => {
    let breaks = 0;
    world.proxy.onRequest((request) =>
      ranges(request) && breaks++ % 2 === 0 ? cut(300_000) : undefined,
    );
    const read = await readBytes(world.store, KEY);
    expect(read && sha256Of(read)).toBe(sha256Of(BIG));
    const [first, ...later] = world.proxy.seen;
    expect(first?.headers.range).toBe(`bytes=0-${MIB - 1}`);
    expect(later.map(rangeOf)).toContain(`bytes=300000-${MIB - 1}`);
    expect(new Set(later.map(({ headers }) => headers["if-match"])).size).toBe(1);
    expect(later.every(({ headers }) => headers["if-match"] !== undefined)).toBe(true);
  });

  it("is unavailable when its connections always break, after a bounded number", async () => {
    world.proxy.onRequest((request) =>
      rangeOf(request)?.startsWith("bytes=0-") ? undefined : cut(10),
    );
    await expect(readBytes(world.store, KEY)).rejects.toMatchObject({ kind: "unavailable" });
    expect(world.proxy.seen.length).toBeLessThan(60);
  });

  it("that is replaced in the middle is unavailable, and never a mixture", async () => {
    const direct = world.open(PREFIX);
    world.proxy.onRequest(async (request) => {
      if (rangeOf(request) === `bytes=0-${MIB - 1}`) return undefined;
      await direct.delete(KEY);
      await putBytes(direct, KEY, randomBytes(2, 5 * MIB + 17));
      return undefined;
    });
    const read = readBytes(world.store, KEY);
    await expect(read).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("replaced while it was read"),
    });
  });

  it("F38 that is deleted in the middle is unavailable, not shorter and not absent", async () => {
    const body = await bodyOf(KEY);
    await world.open(PREFIX).delete(KEY);
    const reading = async () => {
      for await (const _ of body);
    };
    await expect(reading()).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("deleted while it was read"),
    });
  });

  it("is fetched only a few ranges ahead of its reader", async () => {
    const body = (await bodyOf(KEY))[Symbol.asyncIterator]();
    await body.next();
    await vi.waitFor(() => {
      expect(world.proxy.seen).toHaveLength(4);
      expect(world.proxy.seen.every(({ ended }) => ended === "whole")).toBe(true);
    }, PATIENCE);
    await body.return?.(undefined);
    expect(world.proxy.seen).toHaveLength(4);
  });

  it("that is abandoned frees its connections, however often", async () => {
    world.proxy.onRequest(async (request) => {
      // Answers that nobody waits for any more.
      if (rangeOf(request)?.startsWith("bytes=0-") === false) await new Promise(() => {});
      return undefined;
    });
    const open = () => world.proxy.seen.filter(({ ended }) => ended === "open");
    const abandoned = 50;
    for (let time = 0; time < abandoned; time++) {
      const reader = (await bodyOf(KEY))[Symbol.asyncIterator]();
      await reader.next();
      await vi.waitFor(() => expect(open()).toHaveLength(3), PATIENCE);
      await reader.return?.(undefined);
      await vi.waitFor(() => expect(open()).toEqual([]), PATIENCE);
    }
    const left = world.proxy.seen.filter(({ ended }) => ended === "left");
    expect(left).toHaveLength(3 * abandoned);
    // A body that nobody begins to read holds no connection at all.
    for (let time = 0; time < abandoned; time++) await bodyOf(KEY);
    await vi.waitFor(() => expect(open()).toEqual([]), PATIENCE);
  });

  it("is read once", async () => {
    const body = await bodyOf(KEY);
    for await (const _ of body) break;
    expect(() => body[Symbol.asyncIterator]()).toThrow(/its stream was read before/);
  });
});
