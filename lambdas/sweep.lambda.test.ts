import { pointerKey, shardRefs } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
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
afterEach(() => temporary[Symbol.asyncDispose]());

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
