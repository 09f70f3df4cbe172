/** The collector: what it must never take, whoever is at work, and that in the end nothing else stays. */
import {
  type CollectReport,
  collectShard,
  openCollection,
  type Policy,
  pinVersion,
  pointerKey,
  publishDelta,
  readHistory,
  registerRuns,
  rollbackShard,
  ShardReader,
  SiltError,
  snapshotsPrefix,
  unpinVersion,
  updatePolicy,
  verifyStore,
  writeDeltas,
} from "@silt/core";
import { createSeededRandom, randomContent } from "@silt/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import { put, run } from "./contents.fixture.ts";
import { interruptedPorts } from "./interrupted-ports.fixture.ts";
import {
  compact,
  contentOf,
  gate,
  openWorld,
  pointerOf,
  portsWith,
  type World,
  write,
} from "./shard-world.fixture.ts";

const HOUR_MS = 3_600_000;
const KEEP_ONE: Policy["retention"] = {
  versionsKept: 1,
  versionsKeptMs: 0,
  deltasKeptMs: 0,
  graceMs: HOUR_MS,
};

let world: World;
beforeEach(async () => {
  world = await openWorld({ strategy: "single" });
  await retain(KEEP_ONE);
});

async function retain(retention: Policy["retention"]): Promise<void> {
  world.policy = await updatePolicy(world.ports, "lines", (policy) => ({ ...policy, retention }));
}

const collect = (options: { ports?: World["ports"]; delete?: boolean } = {}) =>
  collectShard(options.ports ?? world.ports, world.identity, world.shard, {
    holder: "collector",
    delete: options.delete ?? true,
  });

/** Plan, wait, delete. */
async function collectRipe(): Promise<CollectReport> {
  await collect();
  world.clock.jump(HOUR_MS);
  return collect();
}

async function makeVersions(count: number): Promise<void> {
  for (let version = 1; version <= count; version++) {
    await write(world, run([put(`id-${version}`)]));
    await compact(world);
  }
}

const keys = () => [...world.ports.objects.stored.keys()].sort();
const snapshotKeys = () => keys().filter((key) => key.startsWith(snapshotsPrefix(world.shard)));
const versionsLeft = async () =>
  (await readHistory(world.ports, world.shard)).versions.map(({ ref }) => ref.version);
async function expectVerified(): Promise<void> {
  const { problems } = await verifyStore(world.ports);
  expect(problems).toEqual([]);
}

describe("collectShard()", () => {
  it("I6 in the end nothing stays but what is needed", async () => {
    await makeVersions(5);
    const report = await collectRipe();
    expect(report.retired).toEqual([0, 1, 2, 3, 4]);
    expect(await versionsLeft()).toEqual([5]);
    const prefix = `collections/lines/${world.shard.storeId}/shards/0-of-1/`;
    const left = keys().map((key) =>
      key.replace(prefix, "").replace(/[0-9a-f]{8,}[0-9a-f-]*/g, "*"),
    );
    expect(left.sort()).toEqual([
      "collections/lines/collection.json",
      "collections/lines/policy.json",
      // The bundle that shows that the store is well.
      "deltas/*.tar",
      "latest-pointer.json",
      "plans/*.json",
      "snapshots/5-*/1-5.sqlite",
      "snapshots/5-*/manifest.json",
    ]);
    await expectVerified();
    await write(world, run([put("more")]));
    await compact(world);
    expect([...(await contentOf(world)).rows.keys()]).toHaveLength(6);
  });

  it("a dry run says what would go and since when, and deletes nothing", async () => {
    await makeVersions(2);
    const before = keys();
    const first = await collect({ delete: false });
    expect(first.candidates.map(({ why, ripe }) => [why, ripe])).toContainEqual([
      "old-version",
      false,
    ]);
    world.clock.jump(HOUR_MS);
    const second = await collect({ delete: false });
    expect(second.candidates.every(({ ripe }) => ripe)).toBe(true);
    expect(second.candidates[0]?.sinceMs).toBe(first.candidates[0]?.sinceMs);
    const plans = (all: readonly string[]) => all.filter((key) => !key.includes("/plans/"));
    expect(plans(keys())).toEqual(before);
    expect(keys().filter((key) => key.includes("/plans/"))).toHaveLength(1);
  });

  it("F40 F38 age counts from when a version was replaced, not from when it was made", async () => {
    await retain({ ...KEEP_ONE, versionsKeptMs: 10 * HOUR_MS, graceMs: 0 });
    await makeVersions(1);
    world.clock.jump(1_000 * HOUR_MS);
    await makeVersions(1);
    expect((await collect()).retired).toEqual([0]);
    world.clock.jump(9 * HOUR_MS);
    expect((await collect()).retired).toEqual([]);
    world.clock.jump(2 * HOUR_MS);
    expect((await collect()).retired).toEqual([1]);
  });

  it("F40 nothing is ripe by the clock of the collector alone", async () => {
    await makeVersions(2);
    await collect();
    const clock = { ...world.clock, nowMs: () => world.clock.nowMs() + 1_000 * HOUR_MS };
    const ahead = portsWith(world, { clock }) as World["ports"];
    expect((await collect({ ports: ahead })).deleted).toEqual([]);
  });

  it("keeps the newest that differ: fences don't push out what they repeat", async () => {
    await retain({ ...KEEP_ONE, versionsKept: 2, graceMs: 0 });
    await makeVersions(3);
    for (let fence = 0; fence < 3; fence++) {
      await world.ports.log.announceExclusion(world.shard, "somebody who died");
      await compact(world);
    }
    await collect();
    // Versions go oldest first, so what is younger than the last one kept stays with it.
    expect(await versionsLeft()).toEqual([6, 5, 4, 3, 2]);
    await makeVersions(2);
    await collect();
    expect(await versionsLeft()).toEqual([8, 7]);
  });

  it("I6 a pin holds a version and all that it consists of, while younger ones go", async () => {
    await makeVersions(2);
    const pinned = await pinVersion(world.ports, world.shard, 1, { owner: "audit", reason: "" });
    await makeVersions(3);
    expect((await collectRipe()).retired).toEqual([0, 2, 3, 4]);
    expect(await versionsLeft()).toEqual([5, 1]);
    expect(keys()).toContain(pinned.manifest.key);
    await expectVerified();
    await unpinVersion(world.ports, world.shard, 1, "audit");
    expect((await collectRipe()).retired).toEqual([1]);
    expect(keys()).not.toContain(pinned.manifest.key);
    await expectVerified();
  });

  it("I6 a pin that comes between the plan and the deletion is respected", async () => {
    await makeVersions(3);
    await collect();
    await pinVersion(world.ports, world.shard, 2, { owner: "audit", reason: "" });
    world.clock.jump(HOUR_MS);
    expect((await collect()).retired).toEqual([0, 1]);
    expect(await versionsLeft()).toEqual([3, 2]);
  });

  it("F50 a bundle whose writer sleeps is given up for good: the writer publishes it again", async () => {
    await using workbench = await world.ports.engine.openWorkbench();
    const owner = { ...world.shard, vectors: world.identity.vectors };
    const draft = await publishDelta(world.ports, workbench, owner, run([put("slept")]));
    expect(await collectRipe()).toMatchObject({ abandoned: 1 });
    expect(keys()).not.toContain(draft.delta.key);
    const outcome = await registerRuns(world.ports, [draft]);
    expect(outcome).toEqual({ outcome: "abandoned", runId: draft.runId });
  });

  it("F50 a writer that meets its abandoned run writes it under another id", async () => {
    let slept = false;
    const ports = portsWith(world, {
      log: {
        async commit(transaction) {
          if (!slept) await collectRipe();
          slept = true;
          return world.ports.log.commit(transaction);
        },
      },
    });
    const content = { shard: "0-of-1", content: run([put("slept")]), bytes: 10 };
    const written = await writeDeltas(ports, world.identity, [content]);
    expect(written).toMatchObject({ outcome: "written", runs: [{ sequence: 1 }] });
    await compact(world);
    expect([...(await contentOf(world)).rows.keys()]).toEqual(["slept"]);
  });

  it("F36 a registered bundle that is pending is never taken, however old", async () => {
    await write(world, run([put("old")]));
    world.clock.jump(10_000 * HOUR_MS);
    await collectRipe();
    await compact(world);
    expect([...(await contentOf(world)).rows.keys()]).toEqual(["old"]);
  });

  it("F37 what a running compaction has uploaded is never taken before its number is", async () => {
    await makeVersions(1);
    await write(world, run([put("late")]));
    const isFlip = (method: string, key: string) =>
      method === "put" && key === pointerKey(world.shard);
    const ports = interruptedPorts(world, isFlip, () => collectRipe());
    expect(await compact(world, { ports })).toMatchObject({ outcome: "flipped", version: 2 });
    await expectSoundNow();
  });

  it("F41 leftovers of an attempt at the next version go on an idle shard, behind a fence", async () => {
    await makeVersions(1);
    const died = gate();
    await write(world, run([put("late")]));
    const isFlip = (method: string, key: string) =>
      method === "put" && key === pointerKey(world.shard);
    const dead = interruptedPorts(world, isFlip, () => {
      died.open();
      return new Promise<never>(() => {});
    });
    void compact(world, { ports: dead, holder: "dead" });
    await died.opened;
    // Idle: nothing is pending, as after a rollback of what was.
    world.clock.jump(60_000);
    await compact(world);
    await collectRipe();
    expect(snapshotKeys().filter((key) => key.includes("/2-"))).toHaveLength(2);
    await expectVerified();
  });

  it("F41 fences only where nothing is pending and something lies ahead of the pointer", async () => {
    await makeVersions(1);
    const key = `${snapshotsPrefix(world.shard)}2-0123456789abcdef/manifest.json`;
    const bytes = new TextEncoder().encode("{}");
    world.ports.objects.stored.set(key, { bytes, etag: "x", modifiedAtMs: world.clock.nowMs() });
    expect(await collect()).toMatchObject({ fenced: false });
    world.clock.jump(HOUR_MS);
    const report = await collect();
    expect(report).toMatchObject({ fenced: true });
    expect(report.deleted.map((one) => one.key)).toContain(key);
    expect(await pointerOf(world)).toMatchObject({ version: 2 });
    await expectSoundNow();
  });

  it("I6 rule 2: a rollback that is faster than the collector keeps its target whole", async () => {
    await makeVersions(4);
    await collect();
    world.clock.jump(HOUR_MS);
    const { retireVersion } = world.ports.log;
    let rolled = false;
    const ports = portsWith(world, {
      log: {
        async retireVersion(shard, version) {
          if (version.version === 2 && !rolled) {
            rolled = true;
            const options = { holder: "operator", toVersion: 2 };
            await rollbackShard(world.ports, world.identity, world.policy, world.shard, options);
          }
          return retireVersion(shard, version);
        },
      },
    }) as World["ports"];
    await collect({ ports });
    expect(rolled).toBe(true);
    expect([...(await contentOf(world)).rows.keys()].sort()).toEqual(["id-1", "id-2"]);
    await expectVerified();
  });

  it("F43 I5 a reader whose version is taken meanwhile answers from the new one", async () => {
    await makeVersions(1);
    const reader = new ShardReader(
      world.ports,
      { ...world.shard, vectors: world.identity.vectors },
      {
        async open(manifest) {
          if (manifest.version === 1) {
            await makeVersions(1);
            await collectRipe();
          }
          for (const { object } of manifest.segments) {
            if ((await world.ports.objects.head(object.key)).outcome === "absent") return undefined;
          }
          return { manifest, retain: () => () => {} };
        },
      },
    );
    expect(await reader.view()).toMatchObject({ version: 2, behind: 0 });
  });

  it("F39 two collectors at once, and one that dies between plan and deletion, do no harm", async () => {
    await makeVersions(4);
    await collect();
    world.clock.jump(HOUR_MS);
    let second: CollectReport | undefined;
    const { delete: remove } = world.ports.objects;
    const ports = portsWith(world, {
      objects: {
        async delete(key) {
          if (key.includes("/snapshots/") && second === undefined) second = await collect();
          return remove(key);
        },
      },
    }) as World["ports"];
    const first = await collect({ ports });
    expect(second?.deleted.length).toBeGreaterThan(0);
    expect(first.deleted.length).toBeGreaterThan(0);
    expect(await versionsLeft()).toEqual([4]);
    const dying = portsWith(world, {
      objects: {
        delete: () => Promise.reject(new SiltError("unavailable", "Cannot delete: down")),
      },
    }) as World["ports"];
    await makeVersions(1);
    await collect();
    world.clock.jump(HOUR_MS);
    await expect(collect({ ports: dying })).rejects.toThrow(/down/);
    await expectVerified();
    await collect();
    expect(await versionsLeft()).toEqual([5]);
    await expectVerified();
  });

  it("keeps the bundle of an excluded run, from which alone it may come back", async () => {
    await makeVersions(1);
    const { delta } = await write(world, run([put("bad")]));
    const stored = world.ports.objects.stored.get(delta.key);
    if (stored === undefined) throw new Error("no bundle");
    world.ports.objects.stored.set(delta.key, { ...stored, bytes: stored.bytes.subarray(1) });
    await compact(world);
    await makeVersions(3);
    await collectRipe();
    expect(keys()).toContain(delta.key);
  });

  it("F61 deletes nothing when a manifest of the history is damaged or was lost", async () => {
    await makeVersions(4);
    const history = await readHistory(world.ports, world.shard);
    const key = history.versions[2]?.ref.manifest.key as string;
    const stored = world.ports.objects.stored.get(key);
    if (stored === undefined) throw new Error("no manifest");
    await collect();
    world.clock.jump(HOUR_MS);
    const before = keys();
    world.ports.objects.stored.set(key, { ...stored, bytes: stored.bytes.subarray(1) });
    await expect(collect()).rejects.toMatchObject({ kind: "corrupt" });
    world.ports.objects.stored.delete(key);
    await expect(collect()).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringMatching(/is gone, but nobody has given its version up/),
    });
    world.ports.objects.stored.set(key, stored);
    expect(keys()).toEqual(before);
  });

  it("F52 abandons nothing when the log is not this store's", async () => {
    await makeVersions(2);
    const foreign = portsWith(world, {
      log: { readHead: async () => ({ ...(await head()), runsHash: "0".repeat(64) }) },
    }) as World["ports"];
    await expect(collect({ ports: foreign })).rejects.toMatchObject({ kind: "corrupt" });
  });

  it("leaves a collection alone that was made anew under its name", async () => {
    await makeVersions(1);
    const other = { ...world.shard, storeId: "0123456789abcdef" };
    await expect(
      collectShard(world.ports, world.identity, other, { holder: "collector", delete: true }),
    ).rejects.toMatchObject({ kind: "conflict" });
    expect(await openCollection(world.ports, "lines")).toBeDefined();
  });

  it("I6 random histories with pins, rollbacks and collections stay whole, seeds 1..10", async () => {
    for (let seed = 1; seed <= 10; seed++) await randomHistory(seed);
  });
});

const head = async () => {
  const found = await world.ports.log.readHead(world.shard);
  if (found === undefined) throw new Error("no HEAD");
  return found;
};

/** What is left is sound, whatever of the history is gone. */
async function expectSoundNow(): Promise<void> {
  await expectVerified();
  const { versions } = await readHistory(world.ports, world.shard);
  expect(versions.length).toBeGreaterThan(0);
}

async function randomHistory(seed: number): Promise<void> {
  const random = createSeededRandom(seed);
  world = await openWorld({ strategy: "tiered", smallBytes: 0, fanOut: 2 }, seed);
  await retain({ ...KEEP_ONE, versionsKept: 2, graceMs: 10 });
  for (let step = 0; step < 40; step++) {
    const versions = await versionsLeft();
    const version = random.pick(versions);
    const dice = random.fraction();
    if (dice < 0.4) await write(world, randomContent(random));
    else if (dice < 0.7) await compact(world);
    else if (dice < 0.8) {
      await pinVersion(world.ports, world.shard, version, { owner: "ann", reason: "" });
    } else if (dice < 0.85) {
      await unlessInvalid(() => unpinVersion(world.ports, world.shard, version, "ann"));
    } else if (dice < 0.9) await unlessInvalid(() => rollback(version));
    else await collect();
    world.clock.jump(random.int(20));
  }
  await expectVerified();
}

function rollback(toVersion: number): Promise<unknown> {
  const options = { holder: "operator", toVersion };
  return rollbackShard(world.ports, world.identity, world.policy, world.shard, options);
}

/** A version that cannot be rolled back to, or that ann does not hold, is refused. */
async function unlessInvalid(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    expect(error).toMatchObject({ kind: "invalid" });
  }
}
