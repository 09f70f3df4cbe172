import { countRows, type Row, type SegmentContent, SiltError } from "@silt/core";
import { createSeededRandom, liveRecords, modelOf, randomContent } from "@silt/testkit";
import { describe, expect, it } from "vitest";
import { gone, patch, put, run } from "./contents.fixture.ts";
import {
  compact,
  contentOf,
  expectSound,
  leftovers,
  manifestOf,
  openWorld,
  pointerOf,
  portsWith,
  TIERS,
  traceOf,
  type World,
  type WorldPolicy,
  write,
} from "./shard-world.fixture.ts";

const SEEDS = 6;
const RUNS = 14;
const SINGLE: WorldPolicy = { strategy: "single" };

let world: World;

const liveIds = async () => [...liveRecords(await contentOf(world)).keys()].sort();
/** Rows and replaced parents that are no records. */
const tombstones = async () =>
  (await manifestOf(world)).segments.reduce(
    (sum, { rows, replaced }) => sum + rows.delete + rows.patch + replaced,
    0,
  );

describe("compactShard()", () => {
  for (const [name, policy] of [
    ["single", SINGLE],
    ["tiered", TIERS],
  ] as const) {
    it(`I1 I2 I4 ${name}: random logs equal the reference model after every compaction`, {
      timeout: 60_000,
    }, async () => {
      let segmentsMax = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        world = await openWorld(policy, seed);
        const random = createSeededRandom(seed);
        for (let written = 0; written < RUNS; written++) {
          await write(world, randomContent(random));
          if (random.chance(0.4)) continue;
          const report = await compact(world);
          expect(report).toMatchObject({ outcome: "flipped", behind: 0, excluded: [] });
          await expectSound(world);
          segmentsMax = Math.max(segmentsMax, (await manifestOf(world)).segments.length);
        }
        await compact(world);
        await expectSound(world);
        expect((await pointerOf(world)).appliedThrough).toBe(RUNS);
      }
      if (name === "single") expect(segmentsMax).toBe(1);
      else expect(segmentsMax).toBeGreaterThan(1);
    });
  }

  it("I2 the records don't depend on the policy, on when was compacted, or by whom", async () => {
    const contents = Array.from({ length: 8 }, (_, index) =>
      randomContent(createSeededRandom(100 + index)),
    );
    const results: unknown[] = [];
    for (const [policy, every] of [
      [SINGLE, 1],
      [SINGLE, 8],
      [TIERS, 1],
      [TIERS, 3],
    ] as const) {
      const each = await openWorld(policy);
      for (const [index, content] of contents.entries()) {
        await write(each, content);
        if ((index + 1) % every === 0) await compact(each, { holder: `holder-${index}` });
      }
      await compact(each);
      results.push(liveRecords(await contentOf(each)));
      world = each;
    }
    for (const result of results) expect(result).toEqual(modelOf(world.log));
  });

  it("with nothing pending changes nothing and says so", async () => {
    world = await openWorld();
    const before = await traceOf(world);
    expect(await compact(world)).toMatchObject({ outcome: "nothing-to-do", version: 0, behind: 0 });
    await write(world, run([put("a")]));
    await compact(world);
    const after = await traceOf(world);
    expect(await compact(world)).toMatchObject({ outcome: "nothing-to-do", version: 1 });
    expect(await traceOf(world)).toEqual(after);
    expect(after).not.toEqual(before);
  });

  it("reports what it did in rows and bytes", async () => {
    world = await openWorld(SINGLE);
    await write(world, run([put("a", "p"), put("b")]));
    await write(world, run([put("a", "p"), gone("b")]));
    const report = await compact(world);
    const [segment] = (await manifestOf(world)).segments;
    expect(report).toEqual({
      outcome: "flipped",
      version: 1,
      appliedThrough: 2,
      rowsIn: 4,
      rowsOut: 1,
      superseded: 2,
      bytesWritten: segment?.object.bytes,
      excluded: [],
      behind: 0,
    });
    expect(countRows(segment?.rows ?? { put: 0, patch: 0, delete: 0 })).toBe(1);
  });

  it("runs that leave nothing leave no segment, and are applied", async () => {
    world = await openWorld(SINGLE);
    await write(world, run([gone("a"), patch("b", { k: null })], ["p"]));
    expect(await compact(world)).toMatchObject({ outcome: "flipped", rowsOut: 0 });
    expect((await manifestOf(world)).segments).toEqual([]);
    await write(world, run([put("a")]));
    await compact(world);
    await expectSound(world);
    expect(await liveIds()).toEqual(["a"]);
  });

  it("F67 replace with fewer children, a moved id, delete then put, patch of an old record: as the fold says", async () => {
    world = await openWorld(TIERS);
    const panels = [1, 2, 3, 4].map((panel) => put(`p#${panel}`, "p"));
    const steps: readonly SegmentContent[] = [
      run([...panels, put("a", "p", { shop: "Kino", seen: true }), put("b")]),
      run([put("p#1", "p"), put("p#2", "p")], ["p"]),
      run([put("a", "q", { shop: "Kino", seen: true })]),
      run([patch("a", { shop: null }), gone("b")]),
      run([put("b", "p")]),
      run([], ["p"]),
    ];
    for (const step of steps) {
      await write(world, step);
      await compact(world);
      await expectSound(world);
    }
    expect(await liveIds()).toEqual(["a"]);
    expect(liveRecords(await contentOf(world)).get("a")?.metadata).toEqual({ seen: true });
  });

  it("F62 tombstones reach the oldest segment in the end, and what they hid is gone from the bytes", async () => {
    world = await openWorld({ ...TIERS, tombstoneAgeMs: 1_000, tombstoneRatio: 100 });
    const many = Array.from({ length: 400 }, (_, index) => put(`id-${index}`));
    await write(world, run([...many, { ...put("secret"), document: "SECRET" } as Row]));
    await compact(world);
    await write(world, run([gone("secret")]));
    await compact(world);
    expect((await manifestOf(world)).segments).toHaveLength(2);
    expect(await tombstones()).toBe(1);
    expect(await compact(world)).toMatchObject({ outcome: "nothing-to-do" });
    await world.clock.advance(1_000);
    expect(await compact(world)).toMatchObject({ outcome: "flipped", appliedThrough: 2 });
    expect(await tombstones()).toBe(0);
    await expectSound(world);
    const [segment] = (await manifestOf(world)).segments;
    const bytes = world.ports.objects.stored.get(segment?.object.key ?? "")?.bytes ?? [];
    expect(Buffer.from(bytes).includes("SECRET")).toBe(false);
    expect(await compact(world)).toMatchObject({ outcome: "nothing-to-do" });
  });

  it("I7 I8 more pending runs than one pass may take are applied in several", async () => {
    world = await openWorld({ ...SINGLE, runsMax: 3 });
    for (let index = 0; index < 8; index++) await write(world, run([put(`id-${index}`)]));
    const reports = [await compact(world), await compact(world), await compact(world)];
    expect(reports.map(({ appliedThrough, behind }) => [appliedThrough, behind])).toEqual([
      [3, 5],
      [6, 2],
      [8, 0],
    ]);
    await expectSound(world);
  });

  it("I8 the disk is looked at before any work: what does not fit is not begun", async () => {
    world = await openWorld();
    await write(world, run([put("a")]));
    const before = await traceOf(world);
    const { engine } = world.ports;
    let received = 0;
    const full = portsWith(world, {
      engine: {
        async openWorkbench() {
          const workbench = await engine.openWorkbench();
          workbench.freeBytes = async () => 16 * 1024 * 1024;
          workbench.receiveDelta = () => {
            received += 1;
            return Promise.reject(new Error("work was begun"));
          };
          return workbench;
        },
      },
    });
    await expect(compact(world, { ports: full })).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/16777216 bytes are free.*free some space/),
    });
    expect(received).toBe(0);
    expect(await traceOf(world)).toEqual(before);
    expect(await compact(world)).toMatchObject({ outcome: "flipped" });
  });

  it("an aborted signal changes nothing, whenever it comes", async () => {
    world = await openWorld(SINGLE);
    await write(world, run([put("a")]));
    const before = await traceOf(world);
    await expect(compact(world, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    for (const step of ["deltas", "snapshots"]) {
      const abort = new AbortController();
      const { read } = world.ports.objects;
      const ports = portsWith(world, {
        objects: {
          read(key) {
            if (key.includes(step))
              abort.abort(new SiltError("unavailable", "stopped by a person"));
            return read(key);
          },
        },
      });
      await expect(compact(world, { ports, signal: abort.signal })).rejects.toThrow(/stopped/);
      expect(await traceOf(world)).toEqual(before);
    }
    expect(await compact(world)).toMatchObject({ outcome: "flipped", version: 1 });
    await expectSound(world);
  });

  it("I1 flips nothing that does not read back as it was stored", async () => {
    world = await openWorld(SINGLE);
    await write(world, run([put("a")]));
    const { put: store } = world.ports.objects;
    for (const suffix of [".sqlite", "manifest.json"]) {
      const before = await traceOf(world);
      const ports = portsWith(world, {
        objects: {
          async put(key, source, options) {
            if (key.endsWith(suffix)) return { outcome: "stored", etag: "nothing was stored" };
            return store(key, source, options);
          },
        },
      });
      await expect(compact(world, { ports })).rejects.toMatchObject({
        kind: "unavailable",
        message: expect.stringMatching(/it was there and is gone/),
      });
      expect(await traceOf(world)).toEqual(before);
    }
  });

  it("I3 takes no merge whose vectors do not balance, whatever the engine says", async () => {
    world = await openWorld(SINGLE);
    await write(world, run([put("a"), put("b")]));
    const before = await traceOf(world);
    const { engine } = world.ports;
    const ports = portsWith(world, {
      engine: {
        async openWorkbench() {
          const workbench = await engine.openWorkbench();
          const { merge } = workbench;
          workbench.merge = async (...args) => {
            const merged = await merge.apply(workbench, args);
            return { ...merged, sums: { ...merged.sums, v: [1, 2, 3, 4] } };
          };
          return workbench;
        },
      },
    });
    await expect(compact(world, { ports })).rejects.toMatchObject({ kind: "internal" });
    expect(await traceOf(world)).toEqual(before);
  });

  it("I8 a pass asks the store a number of times that depends on its inputs alone", async () => {
    const counts: number[] = [];
    for (const runs of [1, 11]) {
      world = await openWorld(SINGLE);
      for (let index = 0; index < 20; index++) await write(world, run([put(`old-${index}`)]));
      await compact(world);
      for (let index = 0; index < runs; index++) await write(world, run([put(`id-${index}`)]));
      let asked = 0;
      const counted = <A extends unknown[], T>(call: (...args: A) => T) => {
        return (...args: A) => {
          asked += 1;
          return call(...args);
        };
      };
      const { get, read, put: store, head, list } = world.ports.objects;
      const objects = {
        get: counted(get),
        read: counted(read),
        put: counted(store),
        head: counted(head),
        list: counted(list),
      };
      await compact(world, { ports: portsWith(world, { objects }) });
      counts.push(asked);
    }
    const [one = 0, eleven = 0] = counts;
    expect(eleven - one).toBe(10);
    expect(one).toBeLessThan(15);
  });

  it("shards compact at once with one engine, each under its own lease", async () => {
    const worlds = await Promise.all([1, 2, 3, 4].map((seed) => openWorld(SINGLE, seed)));
    for (const each of worlds) await write(each, run([put("a"), put("b")]));
    const reports = await Promise.all(worlds.map((each) => compact(each)));
    expect(reports.map(({ outcome }) => outcome)).toEqual(Array(4).fill("flipped"));
    for (const each of worlds) await expectSound(each);
    expect(leftovers()).toEqual([]);
  });
});
