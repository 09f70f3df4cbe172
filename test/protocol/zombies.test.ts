import {
  encodeJson,
  type LeaseStore,
  type ObjectStore,
  pointerKey,
  readPointer,
  SiltError,
  type SiltErrorKind,
  underLease,
} from "@silt/core";
import { createSeededRandom, randomContent } from "@silt/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import { put, run } from "./contents.fixture.ts";
import { type CallMatch, interruptedPorts } from "./interrupted-ports.fixture.ts";
import {
  compact,
  expectSound,
  gate,
  leftovers,
  manifestOf,
  openWorld,
  pointerOf,
  portsWith,
  traceOf,
  type World,
  write,
} from "./shard-world.fixture.ts";

/** Longer than the lease and any clock skew. */
const SLEEP_MS = 60_000;

let world: World;
beforeEach(async () => {
  world = await openWorld({ strategy: "single" });
});

const interrupted = (matches: CallMatch, hook: () => Promise<unknown>) =>
  interruptedPorts(world, matches, hook);

/** The zombie sleeps beyond its lease; meanwhile another takes over, and compacts what there is. */
async function takeOver(): Promise<void> {
  await world.clock.advance(0);
  world.clock.jump(SLEEP_MS);
  expect(await compact(world, { holder: "successor" })).toMatchObject({ outcome: "flipped" });
}

const isPointer = (key: string) => key === pointerKey(world.shard);

describe("F4 a zombie whose lease was taken over", () => {
  const steps: readonly [string, CallMatch][] = [
    ["before it reads the log's note", (method) => method === "readApplied"],
    ["before it lists the runs", (method) => method === "readRuns"],
    ["before it fetches a bundle", (method, key) => method === "read" && key.includes("/deltas/")],
    ["before it uploads its segment", (method, key) => method === "put" && key.endsWith(".sqlite")],
    [
      "before it reads its segment back",
      (method, key) => method === "read" && key.endsWith(".sqlite"),
    ],
    [
      "before it uploads its manifest",
      (method, key) => method === "put" && key.endsWith("manifest.json"),
    ],
    ["F3 between the last check and the flip", (method, key) => method === "put" && isPointer(key)],
  ];
  for (const [step, matches] of steps) {
    it(`${step}: changes nothing of what the other made`, async () => {
      await write(world, run([put("a")]));
      const zombie = interrupted(matches, takeOver);
      const ended = await compact(world, { ports: zombie, holder: "zombie" }).catch(
        (error: SiltError) => error,
      );
      expect(zombie.interrupted()).toBe(true);
      // Late, it either sees that it is late, finds nothing to do, or loses the flip; it never wins.
      if (ended instanceof SiltError) expect(ended.kind).toBe("fenced");
      else expect(["lost", "nothing-to-do"]).toContain(ended.outcome);
      const manifest = await manifestOf(world);
      expect(manifest).toMatchObject({ version: 1, appliedThrough: 1 });
      await expectSound(world);
      expect(leftovers()).toEqual([]);
    });
  }

  it("I4 that wakes before it reads the pointer stops there, though runs are pending: fenced", async () => {
    await write(world, run([put("a")]));
    const zombie = interrupted(
      (method) => method === "readApplied",
      async () => {
        await takeOver();
        await write(world, run([put("b")]));
      },
    );
    let merges = 0;
    const engine = {
      openWorkbench() {
        merges += 1;
        return world.ports.engine.openWorkbench();
      },
    };
    const late = compact(world, { ports: { ...zombie, engine }, holder: "zombie" });
    await expect(late).rejects.toMatchObject({
      kind: "fenced",
      message: expect.stringMatching(/the pointer has epoch 2, this lease 1/),
    });
    expect(merges).toBe(0);
    expect(await pointerOf(world)).toMatchObject({ version: 1, epoch: 2 });
  });

  it("F3 loses the flip and reports the version it lost to", async () => {
    await write(world, run([put("a")]));
    const zombie = interrupted((method, key) => method === "put" && isPointer(key), takeOver);
    expect(await compact(world, { ports: zombie, holder: "zombie" })).toMatchObject({
      outcome: "lost",
      version: 1,
      appliedThrough: 1,
    });
  });

  it("I4 whose flip lands before the successor's: the successor loses, epochs and versions only rise", async () => {
    await write(world, run([put("a")]));
    const [reached, resume] = [gate(), gate()];
    const zombie = interrupted(
      (method, key) => method === "put" && isPointer(key),
      async () => {
        reached.open();
        await resume.opened;
      },
    );
    const late = compact(world, { ports: zombie, holder: "zombie" });
    await reached.opened;
    world.clock.jump(SLEEP_MS);
    const successor = interrupted(
      (method, key) => method === "put" && isPointer(key),
      async () => {
        resume.open();
        expect(await late).toMatchObject({ outcome: "flipped", version: 1 });
      },
    );
    expect(await compact(world, { ports: successor, holder: "successor" })).toMatchObject({
      outcome: "lost",
      version: 1,
    });
    await write(world, run([put("b")]));
    await compact(world);
    expect(await pointerOf(world)).toMatchObject({ version: 2, epoch: 3 });
    await expectSound(world);
  });

  it("F6 I4 flips nothing on a pointer that was put back to the bytes of its base", async () => {
    await write(world, run([put("a")]));
    const key = pointerKey(world.shard);
    const old = world.ports.objects.stored.get(key);
    const zombie = interrupted(
      (method, at) => method === "put" && at.endsWith("manifest.json"),
      async () => {
        await takeOver();
        if (old !== undefined) world.ports.objects.stored.set(key, old);
      },
    );
    await expect(compact(world, { ports: zombie, holder: "zombie" })).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringMatching(/pointer is at version 0, the log has seen version 1/),
    });
    expect(await pointerOf(world)).toMatchObject({ version: 0 });
  });

  it("I2 I4 random zombies at random steps never lose or repeat a run", {
    timeout: 60_000,
  }, async () => {
    const outcomes = new Set<string>();
    for (let seed = 1; seed <= 25; seed++) {
      world = await openWorld({}, seed);
      const random = createSeededRandom(seed);
      for (let round = 0; round < 3; round++) {
        await write(world, randomContent(random));
        let left = random.int(16);
        const zombie = interrupted(
          () => left-- === 0,
          async () => {
            if (random.chance(0.5)) await write(world, randomContent(random));
            world.clock.jump(SLEEP_MS);
            await compact(world, { holder: "successor" });
          },
        );
        const ended = await compact(world, { ports: zombie, holder: "zombie" }).catch(
          (error: SiltError) => error,
        );
        if (ended instanceof SiltError) expect(ended.kind).toBe("fenced");
        outcomes.add(ended instanceof SiltError ? ended.kind : ended.outcome);
        await expectSound(world);
      }
      await compact(world);
      expect((await pointerOf(world)).appliedThrough).toBe(world.log.length);
      await expectSound(world);
    }
    expect(outcomes).toContain("lost");
    expect(outcomes).toContain("flipped");
  });
});

describe("the lease", () => {
  /** Lets `work` run until it flips, then calls `meanwhile`, then goes on. */
  async function whileHeld(meanwhile: () => Promise<void>) {
    const held = interrupted(
      (method, key) => method === "put" && key.endsWith(".sqlite"),
      meanwhile,
    );
    return compact(world, { ports: held, holder: "first" });
  }

  it("a shard that someone compacts is busy, and names who", async () => {
    await write(world, run([put("a")]));
    const report = await whileHeld(async () => {
      expect(await compact(world, { holder: "second" })).toMatchObject({
        outcome: "busy",
        holder: "first",
        version: 0,
      });
    });
    expect(report).toMatchObject({ outcome: "flipped", version: 1 });
  });

  it("F59 runs that came while it was held are hinted at when it is released", async () => {
    await write(world, run([put("a")]));
    const hinted: number[] = [];
    await whileHeld(async () => {
      await write(world, run([put("b")]));
      hinted.push((await world.ports.hints.receive(10)).length);
    });
    expect(hinted).toEqual([0]);
    const { collection, storeId, shard } = world.shard;
    expect(await world.ports.hints.receive(10)).toEqual([{ collection, storeId, shard }]);
    expect(await compact(world)).toMatchObject({ outcome: "flipped", appliedThrough: 2 });
    expect(await world.ports.hints.receive(10)).toEqual([]);
  });

  it("F59 is hinted at by who lost a race, not by who met damage or a sick store", async () => {
    await write(world, run([put("a")]));
    const hintsAfter = async (kind: SiltErrorKind) => {
      const fail = () => Promise.reject(new SiltError(kind, "Cannot go on"));
      const options = { holder: "a" };
      await expect(
        underLease(world.ports, world.policy, world.shard, options, fail),
      ).rejects.toMatchObject({ kind });
      return (await world.ports.hints.receive(10)).length;
    };
    expect([await hintsAfter("fenced"), await hintsAfter("conflict")]).toEqual([1, 1]);
    expect([await hintsAfter("unavailable"), await hintsAfter("corrupt")]).toEqual([0, 0]);
  });

  it("F13 F22 is free again after a pass, however it ended; a failed one hints at nothing", async () => {
    await write(world, run([put("a")]));
    const failing = portsWith(world, {
      objects: { read: () => Promise.reject(new SiltError("unavailable", "Cannot read: down")) },
    });
    await expect(compact(world, { ports: failing })).rejects.toThrow(/down/);
    expect(await world.ports.leases.read(world.shard)).toBeUndefined();
    // A shard that can't compact must not wake the next compactor for ever; the sweep hints at it.
    expect(await world.ports.hints.receive(10)).toEqual([]);
    await compact(world);
    expect(await world.ports.leases.read(world.shard)).toBeUndefined();
  });

  it("F13 of a compactor that died is taken over when it runs out, with a later epoch", async () => {
    await write(world, run([put("a")]));
    const { ttlMs, skewMs } = world.policy.lease;
    const options = { holder: "dead", ttlMs, skewMs, aboveEpoch: 0 };
    expect((await world.ports.leases.acquire(world.shard, options)).outcome).toBe("acquired");
    expect(await compact(world)).toMatchObject({ outcome: "busy", holder: "dead" });
    world.clock.jump(ttlMs + skewMs + 1);
    expect(await compact(world)).toMatchObject({ outcome: "flipped" });
    expect(await pointerOf(world)).toMatchObject({ epoch: 2 });
  });

  it("F14 that another holds is not released by the zombie, whose epoch is never used again", async () => {
    await write(world, run([put("a")]));
    const { ttlMs, skewMs } = world.policy.lease;
    const zombie = interrupted(
      (method, key) => method === "put" && isPointer(key),
      async () => {
        world.clock.jump(SLEEP_MS);
        const options = { holder: "other", ttlMs, skewMs, aboveEpoch: 0 };
        await world.ports.leases.acquire(world.shard, options);
      },
    );
    await compact(world, { ports: zombie, holder: "zombie" });
    expect(await world.ports.leases.read(world.shard)).toMatchObject({ holder: "other", epoch: 2 });
    expect(await world.ports.hints.receive(10)).toEqual([]);
  });

  it("I4 epochs stay above the pointer's although the lease item was lost", async () => {
    await write(world, run([put("a")]));
    const { ttlMs, skewMs } = world.policy.lease;
    await world.ports.leases.acquire(world.shard, { holder: "x", ttlMs, skewMs, aboveEpoch: 40 });
    world.clock.jump(SLEEP_MS);
    await compact(world);
    expect(await pointerOf(world)).toMatchObject({ epoch: 42 });
    const fresh = await openWorld();
    await write(world, run([put("b")]));
    await compact(world, { ports: { ...world.ports, leases: fresh.ports.leases } });
    expect(await pointerOf(world)).toMatchObject({ epoch: 43 });
    await expectSound(world);
  });
});

describe("heartbeats", () => {
  const { ttlMs, heartbeatMs } = { ttlMs: 30_000, heartbeatMs: 10_000 };

  /** Compacts while `ms` pass before the segment is uploaded, with another answer to heartbeats. */
  async function compactSlowly(ms: number, extend: LeaseStore["extend"]) {
    await write(world, run([put("a")]));
    const slow = interrupted(
      (method, key) => method === "put" && key.endsWith(".sqlite"),
      () => world.clock.advance(ms),
    );
    const leases = { ...world.ports.leases, extend };
    return compact(world, { ports: { ...slow, leases } });
  }

  it("F11 are sent every ten seconds, so that slow work keeps its lease", async () => {
    const expiries: number[] = [];
    const report = await compactSlowly(5 * ttlMs, async (lease, ms) => {
      const extended = await world.ports.leases.extend(lease, ms);
      expiries.push((await world.ports.leases.read(world.shard))?.expiresAtMs ?? 0);
      return extended;
    });
    expect(report).toMatchObject({ outcome: "flipped" });
    expect(expiries).toHaveLength((5 * ttlMs) / heartbeatMs);
    expect(expiries.every((at, index) => index === 0 || at > (expiries[index - 1] ?? 0))).toBe(
      true,
    );
  });

  it("F15 that fail don't end the work while the lease still runs", async () => {
    const throttled = () =>
      Promise.reject(new SiltError("unavailable", "Cannot extend: throttled"));
    expect(await compactSlowly(ttlMs - 1, throttled)).toMatchObject({ outcome: "flipped" });
  });

  it("F15 that fail until the lease has run out end the work: fenced, nothing changed", async () => {
    const throttled = () =>
      Promise.reject(new SiltError("unavailable", "Cannot extend: throttled"));
    await expect(compactSlowly(2 * ttlMs, throttled)).rejects.toMatchObject({
      kind: "fenced",
      message: expect.stringMatching(/ran out while the store did not answer/),
    });
    expect(await pointerOf(world)).toMatchObject({ version: 0 });
  });

  it("F15 that never answer don't hide that the lease ran out", async () => {
    const silent = () => new Promise<never>(() => {});
    await expect(compactSlowly(2 * ttlMs, silent)).rejects.toMatchObject({
      kind: "fenced",
      message: expect.stringMatching(/ran out/),
    });
  });

  it("F15 that find the lease lost end the work at once", async () => {
    await expect(compactSlowly(heartbeatMs, async () => "lost")).rejects.toMatchObject({
      kind: "fenced",
      message: expect.stringMatching(/another compactor took the lease/),
    });
    expect(await pointerOf(world)).toMatchObject({ version: 0 });
  });

  it("F24 stop with the work: a later failure of the lease store harms nobody", async () => {
    await write(world, run([put("a")]));
    let beats = 0;
    const leases: LeaseStore = {
      ...world.ports.leases,
      extend() {
        beats += 1;
        return Promise.reject(new Error("no one listens"));
      },
    };
    await compact(world, { ports: { ...world.ports, leases } });
    await world.clock.advance(10 * ttlMs);
    expect(beats).toBe(0);
  });
});

describe("compactShard()", () => {
  it("F9 rooted at a stale pointer drops nothing newer: the flip is lost", async () => {
    await write(world, run([put("a")]));
    const stale = await readPointer(world.ports.objects, world.shard);
    await compact(world);
    await write(world, run([put("b")]));
    const { get } = world.ports.objects;
    let reads = 0;
    const objects: Partial<ObjectStore> = {
      async get(key, options) {
        const found = await get(key, options);
        // The first look is cached somewhere; the ones after a failed condition are true.
        if (!isPointer(key) || found.outcome !== "found" || reads++ > 1) return found;
        return { ...found, bytes: encodeJson(stale.pointer), etag: stale.etag };
      },
    };
    const before = await traceOf(world);
    await expect(compact(world, { ports: portsWith(world, { objects }) })).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringMatching(/the log has seen version 1/),
    });
    expect(await traceOf(world)).toEqual(before);
    await compact(world);
    await expectSound(world);
  });
});
