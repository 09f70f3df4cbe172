import { createSeededRandom } from "@silt/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import {
  checkCollectionName,
  ensureCollection,
  listCollections,
  openCollection,
  shardRefs,
  updatePolicy,
} from "./collection.ts";
import { sha256Of } from "./formats.ts";
import { collectionKey, deltaKey, pointerKey, policyKey } from "./object-keys.ts";
import type { ObjectStore, Ports, ShardRef } from "./ports.ts";
import { EMPTY_RUNS_HASH } from "./run-chain.ts";
import { openPointerWorld, type PointerWorld } from "./shard-pointer.fixture.ts";
import { SiltError } from "./silt-error.ts";
import { readManifest, readPointer } from "./snapshot-pointer.ts";

let world: PointerWorld;
let ports: PointerWorld["ports"];
beforeEach(async () => {
  world = await openPointerWorld();
  ports = world.ports;
});

const withObjects = (objects: Partial<ObjectStore>): Ports => ({
  ...ports,
  objects: { ...ports.objects, ...objects },
});
const keys = () => [...ports.objects.stored.keys()].sort();

describe("ensureCollection()", () => {
  it("F8 creates HEAD and version 0 of each shard: nobody ever starts empty", async () => {
    const { identity, created } = await ensureCollection(ports, "words", {
      dimension: 4,
      shards: 3,
    });
    expect(created).toBe(true);
    expect(shardRefs(identity).map(({ shard }) => shard)).toEqual(["0-of-3", "1-of-3", "2-of-3"]);
    for (const shard of shardRefs(identity)) {
      const { pointer } = await readPointer(ports.objects, shard);
      expect(pointer).toMatchObject({
        version: 0,
        epoch: 0,
        appliedThrough: 0,
        parentCommitId: null,
      });
      expect(await readManifest(ports.objects, pointer)).toMatchObject({
        segments: [],
        parent: null,
      });
      expect(await ports.log.readHead(shard)).toEqual({
        sequence: 0,
        runsHash: EMPTY_RUNS_HASH,
        floor: "",
        excluding: null,
        excludeRev: 0,
      });
    }
  });

  it("takes the defaults that are promised: cosine, no embedder, one shard, tiered", async () => {
    const { identity, policy } = await ensureCollection(ports, "words", { dimension: 4 });
    expect(identity.vectors).toEqual([
      { name: "default", dimension: 4, encoding: "f32le", metric: "cosine", embedder: null },
    ]);
    expect(identity.shards).toBe(1);
    expect(policy.compaction.strategy).toBe("tiered");
  });

  it("with the same settings again changes nothing", async () => {
    const before = await ensureCollection(ports, "words", { dimension: 4, metric: "l2" });
    const stored = new Map(ports.objects.stored);
    for (const settings of [{ dimension: 4 }, { dimension: 4, metric: "l2", shards: 1 }] as const) {
      const again = await ensureCollection(ports, "words", settings);
      expect(again).toEqual({ ...before, created: false });
    }
    expect(ports.objects.stored).toEqual(stored);
  });

  it("refuses another identity, naming what differs; the policy may change", async () => {
    await ensureCollection(ports, "words", { dimension: 4, embedder: "use-lite" });
    const others = [
      [{ dimension: 5 }, /with dimension 5: it has dimension 4/],
      [{ dimension: 4, metric: "ip" }, /with metric ip: it has metric cosine/],
      [{ dimension: 4, embedder: "clip" }, /with embedder clip: it has embedder use-lite/],
      [{ dimension: 4, shards: 2 }, /with shards 2: it has shards 1/],
    ] as const;
    for (const [settings, message] of others) {
      await expect(ensureCollection(ports, "words", settings)).rejects.toMatchObject({
        kind: "invalid",
        message: expect.stringMatching(message),
      });
    }
    const { policy } = await ensureCollection(ports, "words", { dimension: 4, policy: "single" });
    expect(policy.compaction.strategy).toBe("single");
    expect((await openCollection(ports, "words"))?.policy).toEqual(policy);
  });

  it("refuses settings out of range before it writes anything", async () => {
    const before = keys();
    const bad: readonly object[] = [
      { dimension: 0 },
      { dimension: 1.5 },
      { dimension: 20_000 },
      { dimension: Number.NaN },
      { dimension: 4, metric: "euclid" },
      { dimension: 4, shards: 0 },
      { dimension: 4, shards: 257 },
      { dimension: 4, policy: "none" },
    ];
    for (const settings of bad) {
      const refused = ensureCollection(ports, "words", settings as { dimension: number });
      await expect(refused).rejects.toMatchObject({ kind: "invalid" });
    }
    for (const name of ["", "A", "-a", ".a", "a/b", "a".repeat(64), "ä", "a b", "../a"]) {
      expect(() => checkCollectionName(name)).toThrow(/expected 1 to 63 of/);
      await expect(ensureCollection(ports, name, { dimension: 4 })).rejects.toThrow(/Cannot use/);
    }
    expect(keys()).toEqual(before);
  });

  it("of many at once creates one collection, and all get it", async () => {
    const opened = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        ensureCollection({ ...ports, random: createSeededRandom(100 + index) }, "words", {
          dimension: 4,
          shards: 2,
        }),
      ),
    );
    expect(opened.filter(({ created }) => created)).toHaveLength(1);
    expect(new Set(opened.map(({ identity }) => identity.storeId)).size).toBe(1);
  });

  it("F6 a killed creation leaves no collection, and the next one starts over", async () => {
    let puts = 0;
    for (let killAt = 1; ; killAt++) {
      puts = 0;
      const dying = withObjects({
        put(...args) {
          puts += 1;
          return puts === killAt ? Promise.reject(new Error("killed")) : ports.objects.put(...args);
        },
      });
      const name = `words-${killAt}`;
      const ended = await ensureCollection(dying, name, { dimension: 4, shards: 2 }).catch(
        () => "killed",
      );
      if (ended !== "killed") break;
      expect(await openCollection(ports, name)).toBeUndefined();
      expect(await listCollections(ports)).not.toContain(name);
      const { identity } = await ensureCollection(ports, name, { dimension: 5, shards: 1 });
      for (const shard of shardRefs(identity)) await readPointer(ports.objects, shard);
      expect(identity).toMatchObject({ shards: 1, vectors: [{ dimension: 5 }] });
    }
    expect(puts).toBe(6);
  });
});

describe("a collection whose collection.json is gone", () => {
  const bundle = (key: string) =>
    ports.objects.put(
      key,
      { kind: "bytes", bytes: Buffer.from("x") },
      { condition: { ifAbsent: true }, bytes: 1, sha256: sha256Of("x") },
    );

  it("F8 is corrupt, for open and create alike, once it was used: nobody starts empty over it", async () => {
    const { identity } = await ensureCollection(ports, "words", { dimension: 4 });
    const [shard] = shardRefs(identity);
    await bundle(deltaKey(shard as ShardRef, "run"));
    await ports.objects.delete(collectionKey("words"));
    const before = keys();
    for (const attempt of [
      openCollection(ports, "words"),
      ensureCollection(ports, "words", { dimension: 4 }),
    ]) {
      await expect(attempt).rejects.toMatchObject({ kind: "corrupt", message: /is gone.*backup/ });
    }
    expect(keys()).toEqual(before);
  });

  it("is absent while nothing but an interrupted creation has touched it", async () => {
    await ensureCollection(ports, "words", { dimension: 4 });
    await ports.objects.delete(collectionKey("words"));
    expect(await openCollection(ports, "words")).toBeUndefined();
  });
});

describe("openCollection()", () => {
  it("gives undefined for one that was never created", async () => {
    expect(await openCollection(ports, "none")).toBeUndefined();
  });

  it("F61 one flipped character of collection.json is corrupt", async () => {
    const key = collectionKey("lines");
    const found = ports.objects.stored.get(key);
    if (found === undefined) throw new Error("no collection");
    const text = new TextDecoder().decode(found.bytes);
    for (const [from, to] of [
      ["cosine", "l2"],
      ['"dimension":2', '"dimension":3'],
      ['"shards":1', '"shards":2'],
    ]) {
      const bytes = new TextEncoder().encode(text.replace(from as string, to as string));
      ports.objects.stored.set(key, { ...found, bytes });
      await expect(openCollection(ports, "lines")).rejects.toMatchObject({
        kind: "corrupt",
        message: expect.stringMatching(/does not match its own hash/),
      });
    }
    ports.objects.stored.set(collectionKey("other"), found);
    await expect(openCollection(ports, "other")).rejects.toThrow(/its file names "lines"/);
  });

  it("a lost policy is corrupt, never the defaults: someone may have set a longer retention", async () => {
    await ports.objects.delete(policyKey("lines"));
    await expect(openCollection(ports, "lines")).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringMatching(/policy.json" is gone; restore it/),
    });
  });

  it("F57 a store that cannot be read is unavailable, not a missing collection", async () => {
    const denied = withObjects({
      get: () => Promise.reject(new SiltError("unavailable", "Cannot read: denied")),
    });
    await expect(openCollection(denied, "lines")).rejects.toMatchObject({ kind: "unavailable" });
    await expect(ensureCollection(denied, "lines", { dimension: 2 })).rejects.toThrow(/denied/);
  });
});

describe("listCollections()", () => {
  it("names all collections in order, and nothing that only begins like one", async () => {
    for (const name of ["words", "a", "lines.v2", "lines-2"]) {
      await ensureCollection(ports, name, { dimension: 2 });
    }
    expect(await listCollections(ports)).toEqual(["a", "lines", "lines-2", "lines.v2", "words"]);
  });
});

describe("updatePolicy()", () => {
  const addRun = (name = "lines", through: Ports = ports) =>
    updatePolicy(through, name, (policy) => ({
      ...policy,
      compaction: { ...policy.compaction, runsMax: policy.compaction.runsMax + 1 },
    }));

  it("changes made at once are all made, none over another", async () => {
    const before = (await openCollection(ports, "lines"))?.policy.compaction.runsMax ?? 0;
    await Promise.all(Array.from({ length: 4 }, () => addRun()));
    expect((await openCollection(ports, "lines"))?.policy.compaction.runsMax).toBe(before + 4);
  });

  it("F10 gives up after a bounded number of lost races", async () => {
    const losing = withObjects({
      put: (key, ...rest) =>
        key === policyKey("lines")
          ? Promise.resolve({ outcome: "condition-failed" })
          : ports.objects.put(key, ...rest),
    });
    await expect(addRun("lines", losing)).rejects.toMatchObject({ kind: "conflict" });
  });

  it("what could not be read again is refused, and nothing is changed", async () => {
    const before = ports.objects.stored.get(policyKey("lines"));
    const change = updatePolicy(ports, "lines", (policy) => ({
      ...policy,
      retention: { ...policy.retention, versionsKept: 0 },
    }));
    await expect(change).rejects.toMatchObject({ kind: "invalid" });
    expect(ports.objects.stored.get(policyKey("lines"))).toBe(before);
  });

  it("a change that changes nothing writes nothing", async () => {
    const before = ports.objects.stored.get(policyKey("lines"));
    await updatePolicy(ports, "lines", (policy) => ({ ...policy }));
    expect(ports.objects.stored.get(policyKey("lines"))).toBe(before);
  });
});

it("the pointer lies under the store id: a collection made again has another key (F6)", () => {
  expect(pointerKey(world.shard)).toBe(
    `collections/lines/${world.shard.storeId}/shards/0-of-1/latest-pointer.json`,
  );
});
