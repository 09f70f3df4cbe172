import { readdirSync } from "node:fs";
import {
  type Hint,
  type Ports,
  readManifest,
  readPointer,
  SiltError,
  shardRefs,
  updatePolicy,
} from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../packages/silt/src/serverless.ts";
import {
  type TemporaryStore,
  temporaryStore,
} from "../packages/silt/src/temporary-store.fixture.ts";
import { createCompactHandler } from "./compact.lambda.ts";
import {
  failedIds,
  recordingHints,
  sqsEvent,
  type TestWiring,
  testContext,
  testWiring,
} from "./wiring.fixture.ts";

let temporary: TemporaryStore;
let store: Store;
let shards: readonly Hint[];
beforeEach(async () => {
  temporary = await temporaryStore();
  store = temporary.store;
  const notes = await store.collection("notes", { dimension: 3, shards: 2 });
  shards = shardRefs(notes.identity);
});
afterEach(() => temporary[Symbol.asyncDispose]());

/** Records in each shard: a run a call. */
async function write(from: number, to = from + 20): Promise<void> {
  const notes = await store.collection("notes");
  const embedding = [1, 2, 3];
  await notes.put(
    Array.from({ length: to - from }, (_, n) => ({ id: `note-${from + n}`, embedding })),
  );
}

const DAY_MS = 24 * 3_600_000;

async function manifestOf(shard: Hint) {
  const { objects } = store.context.ports;
  return readManifest(objects, (await readPointer(objects, shard)).pointer);
}

const bodyOf = (hint: Hint) => JSON.stringify(hint);
const bodies = () => ({
  m0: bodyOf(shards[0] as Hint),
  m1: bodyOf(shards[1] as Hint),
  m2: bodyOf(shards[0] as Hint),
});

interface Faults {
  readonly ports?: (ports: Ports) => Partial<Ports>;
  readonly env?: Parameters<typeof testWiring>[1];
}

function functionWith({ ports, env }: Faults = {}) {
  const sound = store.context.ports;
  const wiring = testWiring(store, env);
  const hints = recordingHints();
  const faulty = { ...sound, hints, ...ports?.(sound) };
  const handle = createCompactHandler({ ...wiring, ports: async () => faulty });
  const compact = async (messages: Readonly<Record<string, string>>, context = testContext()) =>
    failedIds(await handle(sqsEvent(messages), context));
  return { compact, wiring, hinted: hints.shards };
}

const pending = async () =>
  (await store.status("notes")).flatMap(({ shards: each }) => each.map((shard) => shard.pending));
const errorsOf = ({ lines }: TestWiring) => lines.filter(({ level }) => level === "error");
const messages = ({ lines }: TestWiring) => lines.map(({ message }) => message);

/** Ports whose objects of one shard fail. */
const failingShard = (shard: string, kind: "unavailable" | "corrupt") => (ports: Ports) => ({
  objects: {
    ...ports.objects,
    read: async (key: string) => {
      if (key.includes(`/${shard}/`)) throw new SiltError(kind, `Cannot read "${key}"`);
      return ports.objects.read(key);
    },
  },
});

describe("the compact function", () => {
  it("F22 compacts each shard once, whatever the number of its hints", async () => {
    await write(0);
    const { compact, wiring } = functionWith();
    expect(await compact(bodies())).toEqual([]);
    expect(await pending()).toEqual([0, 0]);
    expect(messages(wiring)).toEqual(["shard flipped", "shard flipped"]);
    expect(await compact(bodies())).toEqual([]);
    expect(messages(wiring).slice(2)).toEqual(["shard nothing-to-do", "shard nothing-to-do"]);
  });

  it("goes on pass after pass until nothing is pending", async () => {
    for (let n = 0; n < 5; n++) await write(n * 20);
    await store.setPolicy("notes", ({ compaction, ...rest }) => ({
      ...rest,
      compaction: { ...compaction, runsMax: 2 },
    }));
    const { compact, wiring } = functionWith();
    expect(await compact(bodies())).toEqual([]);
    expect(await pending()).toEqual([0, 0]);
    expect(wiring.lines[0]?.fields).toMatchObject({ flips: 3, behind: 0 });
  });

  it("F18 what is no hint fails alone; a collection that is gone, or was made anew, is done", async () => {
    await write(0);
    const [first] = shards as [Hint];
    const { compact, wiring } = functionWith();
    const failed = await compact({
      text: "hello",
      gone: bodyOf({ ...first, collection: "gone" }),
      anew: bodyOf({ ...first, storeId: "0".repeat(16) }),
      shard: bodyOf({ ...first, shard: "0-of-9" }),
      good: bodyOf(first),
    });
    expect(failed).toEqual(["text"]);
    expect(await pending()).toEqual([0, 1]);
    expect(messages(wiring).filter((message) => message === "shard gone")).toHaveLength(3);
  });

  it.each(["unavailable", "corrupt"] as const)(
    "a shard that is %s fails its messages, not those of others, and is told once",
    async (kind) => {
      await write(0);
      const ports = failingShard("0-of-2", kind);
      const { compact, wiring } = functionWith({ ports });
      expect(await compact(bodies())).toEqual(["m0", "m2"]);
      expect(await pending()).toEqual([1, 0]);
      expect(errorsOf(wiring)).toEqual([
        {
          level: "error",
          message: expect.stringContaining("Cannot"),
          fields: { collection: "notes", shard: "0-of-2", kind },
        },
      ]);
    },
  );

  it("F16 two at once: one of them works, and the other one's message is done", async () => {
    await write(0);
    const [first] = shards as [Hint];
    const { leases } = store.context.ports;
    const options = { holder: "another", ttlMs: 60_000, skewMs: 0, aboveEpoch: 0 };
    const held = await leases.acquire(first as never, options);
    const { compact, wiring } = functionWith();
    expect(await compact({ m0: bodyOf(first) })).toEqual([]);
    expect(messages(wiring)).toEqual(["shard busy"]);
    expect(await pending()).toEqual([1, 1]);
    expect(held.outcome).toBe("acquired");
  });

  it("F13 out of time in the first pass: nothing is half done, the message comes again, the next one works", async () => {
    await write(0);
    const slow = (ports: Ports) => ({
      objects: {
        ...ports.objects,
        read: async (key: string) => {
          // It answers when the time is up.
          await new Promise((resolve) => setTimeout(resolve, 3_000));
          return ports.objects.read(key);
        },
      },
    });
    const { compact, wiring } = functionWith({ ports: slow });
    // The estimate wants more than that; the clock is asked once the work has begun.
    let asked = 0;
    const context = testContext(() => (asked++ === 0 ? 2_500 : 60_000));
    const one = { m0: bodyOf(shards[0] as Hint) };
    expect(await compact(one, context)).toEqual(["m0"]);
    expect(messages(wiring)).toEqual(["shard out-of-time"]);
    expect(await pending()).toEqual([1, 1]);
    expect(await store.context.ports.leases.read(shards[0] as never)).toBeUndefined();
    const own = (name: string) => name.startsWith(`work-${process.pid}-`);
    expect(readdirSync(store.context.tempRoot()).filter(own)).toEqual([]);
    const again = functionWith();
    expect(await again.compact(one)).toEqual([]);
    expect(await pending()).toEqual([0, 1]);
  });

  it("F13 with too little time left nothing is begun, and others are hinted at it", async () => {
    await write(0);
    const { compact, wiring, hinted } = functionWith();
    let asked = 0;
    // Enough when it began, next to nothing now.
    const context = testContext(() => (asked++ === 0 ? 60_000 : 100));
    expect(await compact(bodies(), context)).toEqual([]);
    expect(messages(wiring)).toEqual(["shard out-of-time", "shard out-of-time"]);
    expect(await pending()).toEqual([1, 1]);
    expect(hinted).toEqual(["0-of-2", "1-of-2"]);
  });

  it("I8 what does not fit is noticed before the work, with its numbers; its message is done", async () => {
    await write(0);
    const reads: string[] = [];
    const counting = (ports: Ports) => ({
      objects: {
        ...ports.objects,
        read: (key: string) => {
          reads.push(key);
          return ports.objects.read(key);
        },
      },
    });
    const env = { diskBytes: 1_000 };
    const { compact, wiring } = functionWith({ ports: counting, env });
    expect(await compact(bodies())).toEqual([]);
    expect(reads).toEqual([]);
    expect(wiring.values.get("CompactionTooLarge")).toEqual([1, 1]);
    expect(errorsOf(wiring)[0]?.fields).toMatchObject({
      shard: "0-of-2",
      resource: "disk",
      available: 1_000,
      needed: expect.any(Number),
      advice: expect.stringContaining("silt compact notes"),
    });
    const small = functionWith();
    await small.compact(bodies(), testContext(60_000, "128"));
    expect(errorsOf(small.wiring)[0]?.fields).toMatchObject({ resource: "memory" });
    const short = functionWith();
    await short.compact(bodies(), testContext(1_000));
    expect(errorsOf(short.wiring)[0]?.fields).toMatchObject({ resource: "time" });
    expect(await store.compact("notes")).toMatchObject([
      { outcome: "flipped" },
      { outcome: "flipped" },
    ]);
  });

  it("I8 runs that fit are applied, whatever rewrite is due and does not", async () => {
    const { ports } = store.context;
    await updatePolicy(ports, "notes", (policy) => ({
      ...policy,
      compaction: { ...policy.compaction, smallBytes: 0 },
    }));
    const notes = await store.collection("notes");
    await write(0, 4_000);
    await store.compact("notes");
    await notes.delete({ id: "note-1" });
    await store.compact("notes");
    const later = { ...ports.clock, nowMs: () => ports.clock.nowMs() + 8 * DAY_MS };
    await write(4_000);
    const [segment] = (await manifestOf(shards[0] as Hint)).segments;
    // Room for the runs and the small segment, not for the large one.
    const env = { diskBytes: 16 * 1024 * 1024 + 2 * (segment?.object.bytes ?? 0) };
    const { compact, wiring } = functionWith({ ports: () => ({ clock: later }), env });
    const message = { m0: bodyOf(shards[0] as Hint) };
    expect(await compact(message)).toEqual([]);
    expect(await pending()).toEqual([0, 1]);
    expect(messages(wiring)).toEqual(["compaction does not fit", "shard flipped"]);
    expect(wiring.values.get("CompactionTooLarge")).toEqual([1]);
    // Idle, the rewrite is still due, and somebody must hear of it.
    expect(await compact(message)).toEqual([]);
    expect(messages(wiring).slice(2)).toEqual(["compaction does not fit"]);
    expect(wiring.values.get("CompactionTooLarge")).toEqual([1, 1]);
  });

  it("I8 takes fewer runs at once where all of them together do not fit", async () => {
    for (let n = 0; n < 8; n++) await write(n * 20);
    const bytes = (
      await store.context.ports.log.readRuns(shards[0] as never, { after: 0, limit: 9 })
    )
      .map(({ delta }) => delta.bytes)
      .reduce((sum, each) => sum + each, 0);
    // Room for half of them, and for what they are merged with.
    const env = { diskBytes: 3 * bytes + 16 * 1024 * 1024 - 1 };
    const { compact, wiring } = functionWith({ env });
    expect(await compact({ m0: bodyOf(shards[0] as Hint) })).toEqual([]);
    expect(await pending()).toEqual([0, 8]);
    expect(wiring.values.get("CompactionTooLarge")).toBeUndefined();
    expect(wiring.lines[0]?.fields.flips).toBeGreaterThan(1);
  });
});
