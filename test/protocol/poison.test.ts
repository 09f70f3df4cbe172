import {
  EMPTY_RUNS_HASH,
  manifestKey,
  nextRunsHash,
  type Ports,
  pointerKey,
  type Run,
  type RunLog,
  SiltError,
} from "@silt/core";
import { createMemoryRunLog, createSeededRandom, modelOf, randomContent } from "@silt/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import { gone, put, run } from "./contents.fixture.ts";
import { interruptedPorts } from "./interrupted-ports.fixture.ts";
import {
  compact,
  contentOf,
  expectSound,
  manifestOf,
  openWorld,
  pointerOf,
  portsWith,
  traceOf,
  type World,
  write,
} from "./shard-world.fixture.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld({ strategy: "single" });
});

/** Flips one bit of an object; gives what undoes it. */
function damage(key: string, at = 1_000): () => void {
  const { stored } = world.ports.objects;
  const found = stored.get(key);
  if (found === undefined) throw new Error(`no ${key}`);
  const bytes = Uint8Array.from(found.bytes);
  bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ 4;
  stored.set(key, { ...found, bytes });
  return () => void stored.set(key, found);
}

const excludedOf = async () => (await manifestOf(world)).excluded;

/** The attempt fails with this kind and message, and changes nothing. */
async function expectRefused(
  kind: string,
  message: RegExp,
  ports: Ports = world.ports,
): Promise<void> {
  const before = await traceOf(world);
  await expect(compact(world, { ports })).rejects.toMatchObject({
    name: "SiltError",
    kind,
    message: expect.stringMatching(message),
  });
  expect(await traceOf(world)).toEqual(before);
}

describe("a damaged bundle", () => {
  it("F23 is excluded alone and named; everything around it is applied", async () => {
    await write(world, run([put("a"), put("b")]));
    const bad = await write(world, run([gone("a"), put("c")], ["p"]));
    await write(world, run([put("d", "p")]));
    damage(bad.delta.key);
    const report = await compact(world);
    expect(report).toMatchObject({ outcome: "flipped", appliedThrough: 3, rowsOut: 3 });
    expect(report.excluded).toEqual([
      { runId: bad.runId, sequence: 2, reason: expect.stringMatching(/registered were/) },
    ]);
    expect(await excludedOf()).toEqual([
      {
        from: 2,
        to: 2,
        runIds: [bad.runId],
        reason: expect.stringMatching(/registered were/),
        excludedAt: expect.stringMatching(/^2026-/),
        cause: "poison",
        retriedBy: null,
      },
    ]);
    await expectSound(world);
    expect(await world.ports.log.readHead(world.shard)).toMatchObject({
      excluding: null,
      excludeRev: 1,
    });
  });

  it("I2 stays excluded in all later versions, whatever becomes of its bytes", async () => {
    await write(world, run([put("a")]));
    const bad = await write(world, run([put("b")]));
    const heal = damage(bad.delta.key);
    await compact(world);
    heal();
    for (let index = 0; index < 3; index++) {
      await write(world, run([put(`later-${index}`)]));
      expect((await compact(world)).excluded).toEqual([]);
      await expectSound(world);
    }
    expect(await excludedOf()).toHaveLength(1);
  });

  it("I7 alone in the log is excluded too, and leaves no segment", async () => {
    const bad = await write(world, run([put("a")]));
    damage(bad.delta.key);
    expect(await compact(world)).toMatchObject({
      outcome: "flipped",
      appliedThrough: 1,
      rowsOut: 0,
    });
    expect((await manifestOf(world)).segments).toEqual([]);
    await expectSound(world);
  });

  it("F23 that reads well the second time is applied: a flip on the wire is no poison", async () => {
    const flaky = await write(world, run([put("a")]));
    const heal = damage(flaky.delta.key);
    let reads = 0;
    const { read } = world.ports.objects;
    const ports = portsWith(world, {
      objects: {
        read(key) {
          if (key === flaky.delta.key && ++reads === 2) heal();
          return read(key);
        },
      },
    });
    expect(await compact(world, { ports })).toMatchObject({ outcome: "flipped", excluded: [] });
    expect(reads).toBe(2);
    await expectSound(world);
  });

  it("keeps the deletes that came after it until it is retried, then lets them go", async () => {
    await write(world, run([put("a"), put("b")]));
    const bad = await write(world, run([put("c"), put("b")]));
    await write(world, run([gone("b")]));
    damage(bad.delta.key);
    await compact(world);
    expect((await contentOf(world)).rows.get("b")).toMatchObject({
      operation: "delete",
      sequence: 3,
    });
    const retry = await write(world, run([put("c")]), { retryOf: 2 });
    await compact(world);
    expect(await excludedOf()).toMatchObject([{ from: 2, retriedBy: retry.runId }]);
    expect([...(await contentOf(world)).rows.keys()].sort()).toEqual(["a", "c"]);
    await expectSound(world);
  });
});

describe("several damaged bundles", () => {
  it("F23 are excluded, each alone, while a bundle between them reads well", async () => {
    const runs: Run[] = [];
    for (const id of ["a", "b", "c"]) runs.push(await write(world, run([put(id)])));
    damage(runs[0]?.delta.key as string);
    damage(runs[2]?.delta.key as string);
    const report = await compact(world);
    expect(report.excluded.map(({ sequence }) => sequence)).toEqual([1, 3]);
    await expectSound(world);
  });

  it("F57 F23 with a known bundle that reads badly too are the environment's fault: nothing changes", async () => {
    const applied = await write(world, run([put("a")]));
    await compact(world);
    const runs = [await write(world, run([put("b")])), await write(world, run([put("c")]))];
    const healers = [applied, ...runs].map(({ delta }) => damage(delta.key));
    await expectRefused(
      "unavailable",
      /several bundles read damaged, and so does the known object/,
    );
    for (const heal of healers) heal();
    expect(await compact(world)).toMatchObject({ outcome: "flipped", excluded: [] });
    await expectSound(world);
  });

  it("F57 the canary is found among the bundles, not in a prefix that may be readable when they are not", async () => {
    const applied = await write(world, run([put("a")]));
    await compact(world);
    for (const id of ["b", "c"]) damage((await write(world, run([put(id)]))).delta.key);
    const seen: string[] = [];
    const { read } = world.ports.objects;
    const ports = portsWith(world, {
      objects: {
        read(key) {
          seen.push(key);
          return read(key);
        },
      },
    });
    await compact(world, { ports });
    expect(seen).toContain(applied.delta.key);
    await expectSound(world);
  });

  it("F23 that read well once the canary did are not excluded: what was sick had just recovered", async () => {
    const applied = await write(world, run([put("a")]));
    await compact(world);
    const healers: (() => void)[] = [];
    for (const id of ["b", "c"]) {
      healers.push(damage((await write(world, run([put(id)]))).delta.key));
    }
    const { read } = world.ports.objects;
    const ports = portsWith(world, {
      objects: {
        read(key) {
          if (key === applied.delta.key) for (const heal of healers) heal();
          return read(key);
        },
      },
    });
    expect(await compact(world, { ports })).toMatchObject({ outcome: "flipped", excluded: [] });
    await expectSound(world);
  });

  it("I7 after a damaged one was excluded don't stop the shard: an excluded run is no canary", async () => {
    await write(world, run([put("a")]));
    damage((await write(world, run([put("b")]))).delta.key);
    await compact(world);
    for (const id of ["c", "d"]) damage((await write(world, run([put(id)]))).delta.key);
    expect((await compact(world)).excluded.map(({ sequence }) => sequence)).toEqual([3, 4]);
    await expectSound(world);
  });

  it("I7 before anything was ever applied are excluded: the manifest stands in as the canary", async () => {
    for (const id of ["a", "b"]) damage((await write(world, run([put(id)]))).delta.key);
    expect((await compact(world)).excluded).toHaveLength(2);
    for (const id of ["c", "d"]) damage((await write(world, run([put(id)]))).delta.key);
    expect((await compact(world)).excluded).toHaveLength(2);
    await expectSound(world);
  });

  it("I2 I7 random damage: every run is applied or excluded, and the records are those of the applied", {
    timeout: 60_000,
  }, async () => {
    let excluded = 0;
    for (let seed = 1; seed <= 8; seed++) {
      world = await openWorld(seed % 2 ? { strategy: "single" } : {}, seed);
      const random = createSeededRandom(seed);
      for (let index = 0; index < 10; index++) {
        const { delta } = await write(world, randomContent(random));
        if (random.chance(0.25)) damage(delta.key, random.int(delta.bytes));
        if (random.chance(0.4)) {
          excluded += (await compact(world)).excluded.length;
          await expectSound(world);
        }
      }
      excluded += (await compact(world)).excluded.length;
      await expectSound(world);
      expect((await pointerOf(world)).appliedThrough).toBe(10);
    }
    expect(excluded).toBeGreaterThan(8);
  });
});

describe("a bundle that is missing", () => {
  it("F57 F17 is never excluded: the attempt fails, says which, and the run stays pending", async () => {
    await write(world, run([put("a")]));
    const lost = await write(world, run([put("b")]));
    const stored = world.ports.objects.stored.get(lost.delta.key);
    await world.ports.objects.delete(lost.delta.key);
    await expectRefused("corrupt", /of run 2 is missing; nothing was excluded.*restore the object/);
    if (stored !== undefined) world.ports.objects.stored.set(lost.delta.key, stored);
    expect(await compact(world)).toMatchObject({
      outcome: "flipped",
      appliedThrough: 2,
      excluded: [],
    });
    await expectSound(world);
  });

  it("F57 as all others are, for the prefix is wrong: nothing is excluded", async () => {
    for (const id of ["a", "b", "c"]) await write(world, run([put(id)]));
    const { read } = world.ports.objects;
    const wrong = portsWith(world, {
      objects: { read: (key) => (key.includes("/deltas/") ? read(`other/${key}`) : read(key)) },
    });
    await expectRefused("corrupt", /is missing; nothing was excluded/, wrong);
  });

  it("F57 beside a damaged one excludes neither", async () => {
    damage((await write(world, run([put("a")]))).delta.key);
    await world.ports.objects.delete((await write(world, run([put("b")]))).delta.key);
    await expectRefused("corrupt", /of run 2 is missing/);
  });

  it("F9 because others have moved on is a lost race: fenced", async () => {
    const first = await write(world, run([put("a")]));
    const ports = interruptedPorts(
      world,
      (method, key) => method === "read" && key === first.delta.key,
      async () => {
        world.clock.jump(60_000);
        await compact(world, { holder: "successor" });
        await world.ports.objects.delete(first.delta.key);
      },
    );
    await expect(compact(world, { ports })).rejects.toMatchObject({
      kind: "fenced",
      message: expect.stringMatching(/the pointer moved meanwhile/),
    });
    await expectSound(world);
  });

  it("F57 F23 denied or throttled reads are unavailable and change nothing", async () => {
    await write(world, run([put("a")]));
    const denied = portsWith(world, {
      objects: { read: () => Promise.reject(new SiltError("unavailable", "Cannot read: denied")) },
    });
    await expectRefused("unavailable", /denied/, denied);
  });
});

describe("F31 F8 what the current version needs", () => {
  beforeEach(async () => {
    await write(world, run([put("a")]));
    await compact(world);
    await write(world, run([put("b")]));
  });
  const segmentKey = async () => (await manifestOf(world)).segments[0]?.object.key as string;

  it("a damaged segment is corrupt: nothing is excluded, nothing built on it", async () => {
    const heal = damage(await segmentKey(), 20_000);
    await expectRefused(
      "corrupt",
      /segment ".*" of lines does not have its registered length and hash/,
    );
    heal();
    await compact(world);
    await expectSound(world);
  });

  it("a missing segment is corrupt", async () => {
    await world.ports.objects.delete(await segmentKey());
    await expectRefused("corrupt", /is gone, but the current version lists it/);
  });

  it("a missing or damaged manifest is corrupt", async () => {
    const { version, commitId } = await pointerOf(world);
    const key = manifestKey(world.shard, version, commitId);
    const heal = damage(key, 100);
    await expectRefused("corrupt", /its hash is not the one in the pointer/);
    heal();
    await world.ports.objects.delete(key);
    await expectRefused("corrupt", /but it is gone/);
  });

  it("F8 a missing pointer is corrupt and never the start of an empty snapshot", async () => {
    const key = pointerKey(world.shard);
    await world.ports.objects.delete(key);
    await expect(compact(world)).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringMatching(/Cannot read pointer.*it is gone; restore it/),
    });
    expect(await world.ports.objects.head(key)).toEqual({ outcome: "absent" });
  });

  it("F52 a pointer that was restored from before the log's last flip is refused", async () => {
    const key = pointerKey(world.shard);
    const old = world.ports.objects.stored.get(key);
    await compact(world);
    if (old !== undefined) world.ports.objects.stored.set(key, old);
    await expectRefused("corrupt", /the pointer is at version 1, the log has seen version 2/);
  });
});

describe("F52 a log that does not belong to the pointer is refused:", () => {
  beforeEach(async () => {
    for (const id of ["a", "b"]) await write(world, run([put(id)]));
    await compact(world);
    for (const id of ["c", "d", "e"]) await write(world, run([put(id)]));
  });
  const refuseLog = (message: RegExp, log: Partial<RunLog>) =>
    expectRefused("corrupt", message, portsWith(world, { log }));
  const headWith = (change: object): Partial<RunLog> => ({
    async readHead(shard) {
      const head = await world.ports.log.readHead(shard);
      return head && { ...head, ...change };
    },
  });
  const runsWith = (change: (runs: readonly Run[]) => readonly Run[]): Partial<RunLog> => ({
    readRuns: async (shard, page) => change(await world.ports.log.readRuns(shard, page)),
  });

  it("one without HEAD", () => refuseLog(/no HEAD for it/, { readHead: async () => undefined }));

  it("one that was emptied and ends before what was applied", () =>
    refuseLog(/the log ends at run 0, the pointer has applied 2/, createMemoryRunLogAt(0)));

  it("one that was restored and has got as many runs again, but others", async () => {
    const other = "019b7684-0000-7000-8000-000000000000";
    await refuseLog(
      /does not continue the pointer's history/,
      runsWith((runs) =>
        runs.map((each, index) => (index === 0 ? { ...each, runId: other } : each)),
      ),
    );
    let runsHash = EMPTY_RUNS_HASH;
    for (let index = 0; index < 5; index++) runsHash = nextRunsHash(runsHash, other);
    await refuseLog(/history up to HEAD|HEAD has another history/, headWith({ runsHash }));
  });

  it("one with a gap, in the middle or before the first", async () => {
    await refuseLog(
      /expected run 4/,
      runsWith((runs) => runs.filter(({ sequence }) => sequence !== 4)),
    );
    await refuseLog(
      /expected run 3/,
      runsWith((runs) => runs.slice(1)),
    );
  });

  it("one whose rows end before its HEAD", async () => {
    await refuseLog(
      /HEAD is 5, but no run follows 4/,
      runsWith((runs) => runs.slice(0, 2)),
    );
    await refuseLog(
      /HEAD is 5, but no run follows 2/,
      runsWith(() => []),
    );
  });

  it("one that changed between reading and flipping", async () => {
    let reads = 0;
    await refuseLog(/the log ends at run 1/, {
      async readHead(shard) {
        const head = await world.ports.log.readHead(shard);
        reads += 1;
        return reads === 1 ? head : head && { ...head, sequence: 1 };
      },
    });
    expect(reads).toBeGreaterThan(1);
  });

  it("and the true one is taken", async () => {
    await compact(world);
    await expectSound(world);
    expect(modelOf(world.log).size).toBe(5);
  });

  /** A new log of the same shard with `runs` runs in its HEAD. */
  function createMemoryRunLogAt(sequence: number): Partial<RunLog> {
    const fresh = createMemoryRunLog();
    return { ...fresh, ...headWith({ sequence, runsHash: EMPTY_RUNS_HASH }) };
  }
});
