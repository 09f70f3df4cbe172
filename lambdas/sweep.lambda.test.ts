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
  // So many that each of four shards gets some.
  await collection.put(
    Array.from({ length: 40 }, (_, n) => ({ id: `r-${n}`, embedding: [n, 2, 3] })),
  );
}

/** Of a minute: when the time is up, but for what is in hand; and when that is left to hang, too. */
const MARGIN_MS = 10_000;
const UP_MS = 52_000;
const LAST_CALL_MS = 56_000;

/** A sweep of shards that are stuck; the first read of a key with `slow` in it takes so long, or does not end. */
function slowSweep(slow: string, ms: number, seed: number) {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const { ports } = store.context;
  const clock = { ...ports.clock, nowMs: () => ports.clock.nowMs() + 3 * 3_600_000 };
  let isSlow = true;
  const objects = {
    ...ports.objects,
    get(...[key, options]: Parameters<typeof ports.objects.get>) {
      if (!isSlow || !key.includes(slow)) return ports.objects.get(key, options);
      isSlow = false;
      vi.advanceTimersByTime(ms);
      return ms < LAST_CALL_MS ? ports.objects.get(key, options) : new Promise<never>(() => {});
    },
  };
  const wiring = testWiring(store, { marginMs: MARGIN_MS });
  const random = createSeededRandom(seed);
  const all = { ...ports, clock, objects, random, hints: recordingHints() };
  const handle = createSweepHandler({ ...wiring, ports: async () => all });
  const shardsTold = () =>
    wiring.lines.flatMap(({ message, fields }) => (message === "shard" ? [fields.shard] : []));
  const late = () =>
    wiring.lines.filter(({ message }) => message === "not all shards were looked at");
  return { sweep: () => handle({}, testContext()), wiring, shardsTold, late };
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
    expect(hinted.toSorted()).toEqual(["0-of-2", "1-of-2"]);
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
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { ports } = store.context;
    const leases = {
      ...ports.leases,
      // Its time is up in the middle of the only shard.
      read(...[shard]: Parameters<typeof ports.leases.read>) {
        vi.advanceTimersByTime(UP_MS);
        return ports.leases.read(shard);
      },
    };
    const handle = createSweepHandler({
      ...testWiring(store, { marginMs: MARGIN_MS }),
      ports: async () => ({ ...ports, leases }),
    });
    const answer = await handle({ collect: true }, testContext());
    expect(answer).toMatchObject({ shards: 1, collected: 0, deleted: 0 });
    const { collect } = sweepOf();
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

  it("a shard that cannot be read is stuck, not silent", async () => {
    await write("notes");
    const { log, ...rest } = store.context.ports;
    const readApplied = async () => {
      throw new SiltError("unavailable", "Cannot read: throttled");
    };
    const wiring = testWiring(store);
    const ports = async () => ({ ...rest, log: { ...log, readApplied } });
    await createSweepHandler({ ...wiring, ports })({}, testContext());
    expect([...wiring.values]).toEqual([["StuckShards", [1]]]);
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

  it("without time for every shard it tells what it saw, and fails", async () => {
    await write("notes", 4);
    const seen = new Set<unknown>();
    for (let seed = 1; seed <= 12; seed++) {
      const { sweep, wiring, shardsTold, late } = slowSweep("/1-of-4/", LAST_CALL_MS, seed);
      const told = await sweep().catch((error: SiltError) => error);
      const shards = shardsTold();
      const left = 4 - shards.length;
      expect(told).toMatchObject({
        kind: "unavailable",
        message: `Cannot sweep all shards: time was up before ${left} of 4`,
      });
      expect(late()).toMatchObject([{ level: "error", fields: { shards: left } }]);
      for (const name of ["StuckShards", "PendingRuns", "OldestPendingSeconds"]) {
        expect(wiring.values.get(name) ?? []).toHaveLength(shards.length);
      }
      for (const shard of shards) seen.add(shard);
    }
    // Those before the slow one are not always the same.
    expect(seen).toEqual(new Set(["0-of-4", "2-of-4", "3-of-4"]));
  });

  it("what is read while the time ends is told, and nothing is begun after it", async () => {
    await write("notes", 4);
    const { sweep, shardsTold } = slowSweep("-of-4/", UP_MS, 1);
    await expect(sweep()).rejects.toThrow("time was up before 3 of 4");
    expect(shardsTold()).toHaveLength(1);
  });

  it("without time to open every collection it fails", async () => {
    for (const name of ["notes", "words"]) await write(name);
    const { sweep, late, wiring } = slowSweep("/collection.json", LAST_CALL_MS, 1);
    await expect(sweep()).rejects.toThrow("time was up before the opening of 2 collections");
    expect(late()).toMatchObject([{ fields: { shards: 0, collections: 2 } }]);
    expect(wiring.values.get("StuckShards")).toBeUndefined();
  });

  it("what is damaged is told before what a lack of time left out", async () => {
    await write("notes", 2);
    const [first] = shardRefs((await store.collection("notes")).identity);
    await store.context.ports.objects.delete(pointerKey(first as never));
    // Whichever shard comes first, its reading ends with the time.
    const failures = new Map<string, string>();
    for (let seed = 1; seed <= 8; seed++) {
      const { sweep } = slowSweep("-of-2/", UP_MS, seed);
      const { kind, message } = await sweep().then(
        () => expect.unreachable(),
        (error: SiltError) => error,
      );
      failures.set(kind, message);
    }
    expect([...failures.keys()].sort()).toEqual(["corrupt", "unavailable"]);
    expect(failures.get("corrupt")).toMatch(/time was up before 2 of 2, and 1 failed, the first: /);
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
