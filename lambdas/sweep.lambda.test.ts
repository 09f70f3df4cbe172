import { pointerKey, SiltError, shardRefs } from "@silt/core";
import { createSeededRandom } from "@silt/testkit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Store } from "../packages/silt/src/serverless.ts";
import {
  type TemporaryStore,
  temporaryStore,
} from "../packages/silt/src/temporary-store.fixture.ts";
import { createSweepHandler } from "./sweep.lambda.ts";
import { recordingHints, testContext, testWiring } from "./wiring.fixture.ts";

let temporary: TemporaryStore;
let store: Store;
beforeEach(async () => {
  temporary = await temporaryStore();
  store = temporary.store;
});
afterEach(async () => {
  vi.useRealTimers();
  await temporary[Symbol.asyncDispose]();
});

async function write(name: string, shards = 1): Promise<void> {
  const collection = await store.collection(name, { dimension: 3, shards });
  await collection.put([1, 2, 3, 4, 5, 6].map((n) => ({ id: `r-${n}`, embedding: [n, 2, 3] })));
}

function sweepOf(laterMs = 0) {
  const { ports } = store.context;
  const clock = { ...ports.clock, nowMs: () => ports.clock.nowMs() + laterMs };
  const wiring = testWiring(store);
  const hints = recordingHints();
  const handle = createSweepHandler({
    ...wiring,
    ports: async () => ({ ...ports, clock, hints }),
  });
  return {
    wiring,
    hinted: hints.shards,
    sweep: (remaining = 60_000) => handle({}, testContext(remaining)),
    collect: (remaining = 60_000) => handle({ collect: true }, testContext(remaining)),
  };
}

describe("the sweep function", () => {
  it("hints at what was forgotten, and says how every shard is doing", async () => {
    await write("notes", 2);
    await write("idle");
    await store.compact("idle");
    const { sweep, wiring, hinted } = sweepOf(2 * 3_600_000);
    expect(await sweep()).toMatchObject({ collections: 2, shards: 3, hinted: 2, stuck: 2 });
    expect(hinted).toEqual(["0-of-2", "1-of-2"]);
    const { values } = wiring;
    // Of the shards that are late; the one that idles costs no metric.
    expect(values.get("PendingRuns")).toEqual([1, 1]);
    expect(values.get("StuckShards")).toEqual([1, 1]);
    expect(values.get("ExcludedRuns")).toBeUndefined();
    expect(values.get("SecondsSinceFlip")).toHaveLength(2);
    expect(values.get("OldestPendingSeconds")?.[0]).toBeGreaterThan(7_199);
    expect(wiring.lines.filter(({ message }) => message === "shard is stuck")).toHaveLength(2);
  });

  it("collects what nothing needs any more, once its grace is over", async () => {
    await write("notes");
    await store.setPolicy("notes", ({ retention, ...rest }) => ({
      ...rest,
      retention: { ...retention, versionsKept: 1, versionsKeptMs: 0, deltasKeptMs: 0, graceMs: 0 },
    }));
    await store.compact("notes");
    await write("notes");
    await store.compact("notes");
    const first = await sweepOf().collect();
    const second = await sweepOf().collect();
    expect(first.deleted + second.deleted).toBeGreaterThan(0);
    expect(await store.verify()).toMatchObject({ ok: true });
  });

  it("a damaged shard stops no other, is told once, and fails the invocation", async () => {
    await write("broken", 2);
    await write("notes");
    const [shard] = shardRefs((await store.collection("broken")).identity);
    await store.context.ports.objects.delete(pointerKey(shard as never));
    const { sweep, wiring } = sweepOf(120_000);
    await expect(sweep()).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringContaining("1 failed"),
    });
    const errors = wiring.lines.filter(({ level }) => level === "error");
    expect(errors).toMatchObject([{ fields: { collection: "broken", shard: "0-of-2" } }]);
    expect(wiring.values.get("PendingRuns")).toEqual([1, 1]);
    const swept = wiring.lines.find(({ message }) => message === "swept");
    expect(swept?.fields).toMatchObject({ collections: 2, shards: 3, hinted: 2 });
  });

  it("without time for the collector it ends well, and the next one goes on", async () => {
    await write("notes");
    const { collect, wiring } = sweepOf();
    const late = createSweepHandler({
      ...wiring,
      ports: async () => {
        await new Promise((resolve) => setTimeout(resolve, 50));
        return store.context.ports;
      },
    });
    expect(await late({ collect: true }, testContext(1))).toMatchObject({
      collected: 0,
      deleted: 0,
    });
    expect(await collect()).toMatchObject({ collected: 1 });
  });

  it("F62 hints at an idle shard whose deleted data must go", async () => {
    const notes = await store.collection("notes", { dimension: 3 });
    await store.setPolicy("notes", ({ compaction, ...rest }) => ({
      ...rest,
      compaction: { ...compaction, smallBytes: 0, rewriteRatio: 100 },
    }));
    await notes.put(Array.from({ length: 10 }, (_, n) => ({ id: `r-${n}`, embedding: [n, 1, 1] })));
    await store.compact();
    await notes.delete({ id: "r-7" });
    await store.compact();
    expect(await sweepOf().sweep()).toMatchObject({ hinted: 0 });
    expect(await sweepOf(8 * 24 * 3_600_000).sweep()).toMatchObject({ hinted: 1, stuck: 0 });
  });

  it("says how a shard is doing also when it cannot be repaired", async () => {
    await write("notes");
    const down = async () => {
      throw new SiltError("unavailable", "Cannot send: the queue is down");
    };
    const wiring = testWiring(store);
    const { clock, hints, ...rest } = store.context.ports;
    const late = { ...clock, nowMs: () => clock.nowMs() + 120_000 };
    const ports = async () => ({ ...rest, clock: late, hints: { ...hints, send: down } });
    const answer = await createSweepHandler({ ...wiring, ports })({}, testContext());
    expect(answer).toMatchObject({ shards: 1, hinted: 0 });
    expect(wiring.values.get("PendingRuns")).toEqual([1]);
    const warnings = wiring.lines.filter(({ level }) => level === "warn");
    expect(warnings).toMatchObject([{ message: "Cannot send: the queue is down" }]);
  });

  it("one collection that takes all the time does not keep the others from the collector for ever", async () => {
    for (const name of ["busy", "notes", "words"]) await write(name);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const random = createSeededRandom(1);
    const looked = new Set<string>();
    const objects = {
      ...store.context.ports.objects,
      list(...[prefix, options]: Parameters<Store["context"]["ports"]["objects"]["list"]>) {
        const [, name = ""] = prefix.split("/");
        looked.add(name);
        // Its time is up in the middle of it.
        if (name === "busy") vi.advanceTimersByTime(60_000);
        return store.context.ports.objects.list(prefix, options);
      },
    };
    for (let round = 1; round <= 10; round++) {
      const ports = async () => ({ ...store.context.ports, random, objects });
      // A container that knows nothing of the one before.
      const handle = createSweepHandler({ ...testWiring(store), ports });
      const { collected } = await handle({ collect: true }, testContext());
      expect(collected).toBeLessThan(3);
    }
    expect(looked).toEqual(new Set(["busy", "notes", "words"]));
  });

  it("at the end of its time it ends at once, and tells what it has collected", async () => {
    await write("notes");
    await store.setPolicy("notes", ({ retention, ...rest }) => ({
      ...rest,
      retention: { ...retention, versionsKept: 1, versionsKeptMs: 0, deltasKeptMs: 0, graceMs: 0 },
    }));
    for (let version = 1; version <= 3; version++) {
      await store.compact("notes");
      await write("notes");
    }
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { ports } = store.context;
    const after: string[] = [];
    let isUp = false;
    const objects = {
      ...ports.objects,
      get(...[key, options]: Parameters<typeof ports.objects.get>) {
        if (isUp) after.push(key);
        return ports.objects.get(key, options);
      },
      async delete(key: string) {
        await ports.objects.delete(key);
        if (!key.includes("/plans/")) isUp = true;
        if (isUp) vi.advanceTimersByTime(60_000);
      },
    };
    const wiring = testWiring(store);
    const handle = createSweepHandler({ ...wiring, ports: async () => ({ ...ports, objects }) });
    const answer = await handle({ collect: true }, testContext());
    expect(answer).toMatchObject({ collected: 0, deleted: 1 });
    expect(after).toEqual([]);
    const told = wiring.lines.find(({ message }) => message === "shard collected");
    expect(told?.fields).toMatchObject({ collection: "notes", deleted: 1 });
  });

  it("collects only when its event asks for it", async () => {
    await write("notes");
    const { sweep, collect } = sweepOf();
    expect(await sweep()).toMatchObject({ collected: 0 });
    expect(await collect()).toMatchObject({ collected: 1 });
    expect(await sweep()).toMatchObject({ collected: 0 });
  });

  it("an empty store is swept", async () => {
    expect(await sweepOf().sweep()).toMatchObject({ collections: 0, collected: 0 });
  });
});
