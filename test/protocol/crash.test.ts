import { type Ports, pointerKey, SiltError } from "@silt/core";
import { createSeededRandom, randomContent } from "@silt/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import { put, run } from "./contents.fixture.ts";
import { type CallMatch, interruptedPorts } from "./interrupted-ports.fixture.ts";
import {
  compact,
  expectSound,
  gate,
  manifestOf,
  openWorld,
  pointerOf,
  portsWith,
  type World,
  write,
} from "./shard-world.fixture.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld({ strategy: "single" });
});

/** A compactor that stops for ever before the first call that matches; false when it never came there. */
async function compactAndDie(matches: CallMatch): Promise<boolean> {
  const died = gate();
  const ports = interruptedPorts(world, matches, () => {
    died.open();
    return new Promise<never>(() => {});
  });
  const ended = await Promise.race([
    compact(world, { ports, holder: "dead" }).then(() => "ended"),
    died.opened.then(() => "died"),
  ]);
  // Its lease runs out.
  world.clock.jump(60_000);
  return ended === "died";
}

const applied = () => world.ports.log.readApplied(world.shard);
const head = () => world.ports.log.readHead(world.shard);
const down = () => Promise.reject(new SiltError("unavailable", "Cannot write: down"));

describe("F25 a compactor that dies", () => {
  it("between the flip and the note of it: the next pass applies nothing twice and notes it", async () => {
    await write(world, run([put("a", "p")], ["p"]));
    expect(await compactAndDie((method) => method === "raiseApplied")).toBe(true);
    expect(await applied()).toBeUndefined();
    const flipped = await pointerOf(world);
    expect(flipped).toMatchObject({ version: 1, appliedThrough: 1 });
    expect(await compact(world)).toMatchObject({ outcome: "nothing-to-do", version: 1 });
    expect(await pointerOf(world)).toEqual(flipped);
    expect(await applied()).toEqual({ version: 1, appliedThrough: 1 });
    await expectSound(world);
  });

  it("before any of its calls: the next pass ends with the same records", {
    timeout: 60_000,
  }, async () => {
    let steps = 0;
    for (let step = 0; ; step++) {
      world = await openWorld({ strategy: "single" });
      const random = createSeededRandom(7);
      for (let index = 0; index < 2; index++) await write(world, randomContent(random));
      await compact(world);
      await write(world, randomContent(random));
      let left = step;
      if (!(await compactAndDie(() => left-- === 0))) break;
      steps += 1;
      await write(world, randomContent(random));
      expect((await compact(world)).outcome).toBe("flipped");
      await expectSound(world);
      const { version, appliedThrough } = await pointerOf(world);
      expect(appliedThrough).toBe(4);
      expect(await applied()).toEqual({ version, appliedThrough });
    }
    expect(steps).toBeGreaterThan(12);
  });

  it("I1 in the middle of an upload leaves a version that nothing names, and no later one is hurt", async () => {
    await write(world, run([put("a")]));
    await compactAndDie((method, key) => method === "put" && key === pointerKey(world.shard));
    const orphans = [...world.ports.objects.stored.keys()].filter((key) =>
      key.includes("/snapshots/1-"),
    );
    expect(orphans).toHaveLength(2);
    expect(await pointerOf(world)).toMatchObject({ version: 0 });
    await compact(world);
    const { object } = (await manifestOf(world)).segments[0] ?? {};
    expect(orphans).not.toContain(object?.key);
    await expectSound(world);
  });
});

describe("the note of a flip", () => {
  it("F25 that fails does not undo the flip; the next pass makes up for it, also when it flips", async () => {
    await write(world, run([put("a")]));
    const warned: string[] = [];
    const ports: Ports = portsWith(world, {
      log: { raiseApplied: down },
      logger: { log: (level, message) => void (level === "warn" && warned.push(message)) },
    });
    expect(await compact(world, { ports })).toMatchObject({ outcome: "flipped", version: 1 });
    expect(warned).toEqual(["log not updated after a flip"]);
    expect(await applied()).toBeUndefined();
    await write(world, run([put("b")]));
    expect(await compact(world, { ports })).toMatchObject({ outcome: "flipped", version: 2 });
    expect(await applied()).toBeUndefined();
    await compact(world);
    expect(await applied()).toEqual({ version: 2, appliedThrough: 2 });
  });

  it("I4 is never lowered by a compactor that is late", async () => {
    await write(world, run([put("a")]));
    const late = interruptedPorts(
      world,
      (method) => method === "raiseApplied",
      async () => {
        world.clock.jump(60_000);
        await write(world, run([put("b")]));
        await compact(world, { holder: "successor" });
      },
    );
    await compact(world, { ports: late, holder: "late" });
    expect(await applied()).toEqual({ version: 2, appliedThrough: 2 });
  });
});

describe("HEAD.excluding", () => {
  /** A run of which the bundle is damaged. */
  async function writePoison(): Promise<void> {
    const { delta } = await write(world, run([put("bad")]));
    const stored = world.ports.objects.stored.get(delta.key);
    if (stored === undefined) throw new Error("no bundle");
    world.ports.objects.stored.set(delta.key, { ...stored, bytes: stored.bytes.subarray(1) });
  }

  it("is set while an exclusion flips, and resolved after it", async () => {
    await writePoison();
    const seen: unknown[] = [];
    const ports = interruptedPorts(
      world,
      (method, key) => method === "put" && key === pointerKey(world.shard),
      async () => void seen.push(await head()),
    );
    await compact(world, { ports });
    expect(seen).toMatchObject([{ excluding: (await pointerOf(world)).commitId, excludeRev: 0 }]);
    expect(await head()).toMatchObject({ excluding: null, excludeRev: 1 });
  });

  it("is not touched by flips that exclude nothing", async () => {
    await write(world, run([put("a")]));
    await compact(world);
    expect(await head()).toMatchObject({ excluding: null, excludeRev: 0 });
  });

  for (const [when, matches] of [
    [
      "before",
      (method: string, key: string) => method === "put" && key.endsWith("latest-pointer.json"),
    ],
    ["after", (method: string) => method === "resolveExclusion"],
  ] as const) {
    it(`F25 I7 of a compactor that died ${when} its flip is resolved by the next pass`, async () => {
      await writePoison();
      expect(await compactAndDie(matches)).toBe(true);
      expect(await head()).toMatchObject({ excluding: expect.any(String) });
      const { version } = await pointerOf(world);
      expect(await compact(world)).toMatchObject({ outcome: "flipped", version: version + 1 });
      expect(await head()).toMatchObject({ excluding: null, excludeRev: 1 });
      expect((await manifestOf(world)).excluded).toHaveLength(1);
      await expectSound(world);
      expect(await compact(world)).toMatchObject({ outcome: "nothing-to-do" });
    });
  }

  it("F59 that could not be resolved is hinted at, and the flip stands", async () => {
    await writePoison();
    const ports = portsWith(world, { log: { resolveExclusion: down } });
    expect(await compact(world, { ports })).toMatchObject({ outcome: "flipped", version: 1 });
    expect(await head()).toMatchObject({ excluding: expect.any(String), excludeRev: 0 });
    expect(await world.ports.hints.receive(10)).toHaveLength(1);
    await compact(world);
    expect(await head()).toMatchObject({ excluding: null, excludeRev: 1 });
    await expectSound(world);
  });

  it("that another commit announced before the flip stops the exclusion: plan again", async () => {
    await writePoison();
    const { announceExclusion } = world.ports.log;
    const ports = portsWith(world, {
      log: {
        async announceExclusion(shard, commitId) {
          await announceExclusion(shard, commitId);
          await announceExclusion(shard, "another");
        },
      },
    });
    await expect(compact(world, { ports })).rejects.toMatchObject({
      kind: "conflict",
      message: expect.stringMatching(/another compactor announced an exclusion too; try again/),
    });
    expect(await pointerOf(world)).toMatchObject({ version: 0 });
    expect((await compact(world)).excluded).toHaveLength(1);
    await expectSound(world);
  });

  it("stays set when the flip that wanted it was lost, until a later flip stands", async () => {
    await writePoison();
    const zombie = interruptedPorts(
      world,
      (method, key) => method === "put" && key === pointerKey(world.shard),
      async () => {
        world.clock.jump(60_000);
        await compact(world, { holder: "successor" });
        await world.ports.log.announceExclusion(world.shard, "someone");
      },
    );
    expect(await compact(world, { ports: zombie })).toMatchObject({ outcome: "lost", version: 1 });
    expect(await head()).toMatchObject({ excluding: expect.any(String) });
    await compact(world);
    expect(await head()).toMatchObject({ excluding: null });
    await expectSound(world);
  });
});
