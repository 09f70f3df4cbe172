/** Old versions: rolling back to them, pinning them, and what a rollback may never bring back or lose. */
import {
  type Ports,
  pinVersion,
  pointerKey,
  readHistory,
  rollbackShard,
  ShardReader,
  sweepShard,
} from "@silt/core";
import { beforeEach, describe, expect, it } from "vitest";
import { put, run } from "./contents.fixture.ts";
import { interruptedPorts } from "./interrupted-ports.fixture.ts";
import {
  compact,
  contentOf,
  expectSound,
  gate,
  manifestOf,
  openWorld,
  pointerOf,
  TIERS,
  type World,
  write,
} from "./shard-world.fixture.ts";

let world: World;
/** Version 1 holds a, 2 a and b, 3 a, b and c. */
beforeEach(async () => {
  world = await openWorld(TIERS);
  for (const id of ["a", "b", "c"]) {
    await write(world, run([put(id)]));
    await compact(world);
  }
});

const rollback = (toVersion: number, options: { baseVersion?: number; ports?: Ports } = {}) => {
  const { ports = world.ports, baseVersion } = options;
  return rollbackShard(ports, world.identity, world.policy, world.shard, {
    holder: "operator",
    toVersion,
    baseVersion,
    reason: "a bad import",
  });
};
const ids = async () => [...(await contentOf(world)).rows.keys()].sort();
const items = () => world.ports.log.listVersions(world.shard, { limit: 100 });
const isFlip = (method: string, key: string) => method === "put" && key === pointerKey(world.shard);

describe("rollbackShard()", () => {
  it("F56 makes a new version of an old one, and no compaction brings back what it undid", async () => {
    expect(await rollback(1)).toMatchObject({
      outcome: "rolled-back",
      version: 4,
      from: 3,
      to: 1,
      appliedThrough: 3,
      undone: [{ sequence: 2 }, { sequence: 3 }],
    });
    expect(await ids()).toEqual(["a"]);
    await write(world, run([put("d")]));
    await compact(world);
    expect(await ids()).toEqual(["a", "d"]);
    world.policy = {
      ...world.policy,
      compaction: { ...world.policy.compaction, strategy: "single" },
    };
    await write(world, run([put("e")]));
    await compact(world);
    expect(await ids()).toEqual(["a", "d", "e"]);
    expect((await manifestOf(world)).excluded).toMatchObject([
      {
        from: 2,
        to: 3,
        cause: "rollback",
        reason: "rolled back from version 3 to 1: a bad import",
      },
    ]);
    await expectSound(world);
  });

  it("leaves runs that are pending to the next compaction", async () => {
    await write(world, run([put("d")]));
    await rollback(2);
    expect(await ids()).toEqual(["a", "b"]);
    expect(await pointerOf(world)).toMatchObject({ appliedThrough: 3 });
    await compact(world);
    expect(await ids()).toEqual(["a", "b", "d"]);
    await expectSound(world);
  });

  it("to version 0 undoes everything", async () => {
    await rollback(0);
    expect(await ids()).toEqual([]);
    await write(world, run([put("d")]));
    await compact(world);
    expect(await ids()).toEqual(["d"]);
    await expectSound(world);
  });

  it("twice, further back, excludes each run once; forward is refused", async () => {
    await rollback(2);
    await rollback(1);
    expect((await manifestOf(world)).excluded).toMatchObject([
      { from: 3, to: 3 },
      { from: 2, to: 2 },
    ]);
    expect(await ids()).toEqual(["a"]);
    await expect(rollback(3)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringMatching(/it holds run 3, which is excluded since/),
    });
    await expectSound(world);
  });

  it("refuses the current version, a later one, and another base than was looked at", async () => {
    await expect(rollback(3)).rejects.toMatchObject({ kind: "invalid" });
    await expect(rollback(9)).rejects.toMatchObject({ kind: "invalid" });
    await expect(rollback(1, { baseVersion: 2 })).rejects.toMatchObject({
      kind: "conflict",
      message: expect.stringMatching(/the current version is 3, expected 2; look again/),
    });
    expect(await pointerOf(world)).toMatchObject({ version: 3 });
  });

  it("F59 hints when it is refused, for whoever met its lease has dropped a hint", async () => {
    await write(world, run([put("d")]));
    await world.ports.hints.receive(10);
    await expect(rollback(9)).rejects.toMatchObject({ kind: "invalid" });
    expect(await world.ports.hints.receive(10)).toMatchObject([{ shard: world.shard.shard }]);
  });

  it("I6 refuses a version that was given up", async () => {
    const [, second] = (await readHistory(world.ports, world.shard)).versions;
    if (second === undefined) throw new Error("no version 2");
    await world.ports.log.retireVersion(world.shard, second.ref);
    await expect(rollback(2)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringMatching(/the collector has taken it/),
    });
  });

  it("F3 loses against a compactor that flipped meanwhile, and lets its target go", async () => {
    await write(world, run([put("d")]));
    const ports = interruptedPorts(world, isFlip, async () => {
      world.clock.jump(60_000);
      await compact(world, { holder: "successor" });
    });
    expect(await rollback(1, { ports: ports })).toMatchObject({
      outcome: "lost",
      version: 4,
    });
    expect(await ids()).toEqual(["a", "b", "c", "d"]);
    expect(await items()).toMatchObject([{ version: 1, retired: false, pins: [] }]);
    await expectSound(world);
  });

  it("F25 of an operator that died holds its target until another version stands", async () => {
    const died = gate();
    const ports = interruptedPorts(world, isFlip, () => {
      died.open();
      return new Promise<never>(() => {});
    });
    void rollback(1, { ports: ports });
    await died.opened;
    const sweep = () =>
      sweepShard(world.ports, world.shard, {
        hintAfterMs: 0,
        stuckAfterMs: Number.MAX_VALUE,
        compaction: world.policy.compaction,
      });
    expect(await sweep()).toMatchObject({ unpinned: [], hinted: true });
    expect(await items()).toMatchObject([{ version: 1, pins: [{ baseVersion: 3 }] }]);
    world.clock.jump(60_000);
    // The announcement that was left is reason enough for a flip.
    expect(await compact(world)).toMatchObject({ outcome: "flipped", version: 4 });
    expect(await sweep()).toMatchObject({ unpinned: [1] });
    expect(await items()).toMatchObject([{ version: 1, pins: [] }]);
    expect(await ids()).toEqual(["a", "b", "c"]);
    await expectSound(world);
  });
});

describe("pinVersion()", () => {
  it("holds what is there, and says what is not", async () => {
    const options = { owner: "audit", reason: "year 2026" };
    expect(await pinVersion(world.ports, world.shard, 1, options)).toMatchObject({ version: 1 });
    const history = await readHistory(world.ports, world.shard);
    expect(history.versions.map(({ ref, pins }) => [ref.version, pins.length])).toEqual([
      [3, 0],
      [2, 0],
      [1, 1],
      [0, 0],
    ]);
    await expect(pinVersion(world.ports, world.shard, 7, options)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringMatching(/the newest is 3; there are 3, 2, 1, 0/),
    });
  });
});

describe("ShardReader", () => {
  it("I4 refuses an old pointer that was put back: what it lacks may be a rollback", async () => {
    const key = pointerKey(world.shard);
    const old = world.ports.objects.stored.get(key);
    if (old === undefined) throw new Error("no pointer");
    await rollback(1);
    const owner = { ...world.shard, vectors: world.identity.vectors };
    const reader = new ShardReader(world.ports, owner, {
      open: async (manifest) => ({ manifest, retain: () => () => {} }),
    });
    expect(await reader.view()).toMatchObject({ version: 4 });
    world.ports.objects.stored.set(key, old);
    for (const options of [{}, { fresh: true }]) {
      await expect(reader.view(options)).rejects.toMatchObject({
        kind: "corrupt",
        message: expect.stringMatching(/the pointer is at version 3, the log has seen version 4/),
      });
    }
  });
});

describe("readHistory()", () => {
  /** Ports whose pointer is, so many times, the one of `old`. */
  const withOldPointer = (old: Uint8Array, times: number): Ports => {
    const { objects } = world.ports;
    let left = times;
    const get: typeof objects.get = async (key, options) => {
      const found = await objects.get(key, options);
      if (key !== pointerKey(world.shard) || left-- <= 0 || found.outcome !== "found") return found;
      return { ...found, bytes: old };
    };
    return { ...world.ports, objects: { ...objects, get } };
  };

  it("reads the pointer again when later versions are pinned: those between would be missing", async () => {
    const found = await world.ports.objects.get(pointerKey(world.shard), { bytesMax: 65_536 });
    if (found.outcome !== "found") throw new Error("there is no pointer");
    for (const id of ["d", "e", "f"]) {
      await write(world, run([put(id)]));
      await compact(world);
    }
    await pinVersion(world.ports, world.shard, 5, { owner: "audit", reason: "kept" });
    const history = await readHistory(withOldPointer(found.bytes, 1), world.shard);
    expect(history.versions.map(({ ref }) => ref.version)).toEqual([6, 5, 4, 3, 2, 1, 0]);
    await expect(readHistory(withOldPointer(found.bytes, 100), world.shard)).rejects.toMatchObject({
      kind: "unavailable",
      message: /names version 3, and later/,
    });
  });
});
