import { createSeededRandom } from "@silt/testkit";
import { beforeEach, describe, expect, it } from "vitest";
import type { Guard } from "./formats.ts";
import { uuidV7 } from "./ids.ts";
import { deltaKey, shardPartition } from "./object-keys.ts";
import type {
  Clock,
  CommitOutcome,
  Head,
  LogTransaction,
  Ports,
  RunLog,
  ShardRef,
} from "./ports.ts";
import { planRegistration, type RunDraft, registerRuns } from "./register-runs.ts";
import { nextRunsHash } from "./run-chain.ts";
import { openPointerWorld, type PointerWorld } from "./shard-pointer.fixture.ts";
import { SiltError } from "./silt-error.ts";

let world: PointerWorld;
let random: ReturnType<typeof createSeededRandom>;
beforeEach(async () => {
  world = await openPointerWorld();
  random = createSeededRandom(2);
});

function draftOf(shard: ShardRef = world.shard): RunDraft {
  const runId = uuidV7(world.ports.clock.nowMs(), random.bytes(16));
  return {
    shard,
    runId,
    delta: { key: deltaKey(shard, runId), bytes: 1, sha256: "0".repeat(64), codec: "tar" },
    rows: { put: 2, patch: 1, delete: 1 },
    replaced: 0,
    source: null,
    retryOf: null,
  };
}

async function otherShard(name: string): Promise<ShardRef> {
  const shard = { ...world.shard, collection: name };
  const head = await headOf();
  await world.ports.log.createShard(shard, { ...head, sequence: 0 });
  return shard;
}

const headOf = async (shard = world.shard) => (await world.ports.log.readHead(shard)) as Head;
const runsOf = (shard = world.shard) => world.ports.log.readRuns(shard, { after: 0, limit: 1_000 });
const withLog = (log: Partial<RunLog>): Ports => ({
  ...world.ports,
  log: { ...world.ports.log, ...log },
});
const down = () => new SiltError("unavailable", "Cannot commit: the answer was lost");

/** A log whose commits do as `commit` says, given the true one and the number of the attempt. */
function committing(
  commit: (
    truly: () => Promise<CommitOutcome>,
    attempt: number,
    transaction: LogTransaction,
  ) => Promise<CommitOutcome>,
) {
  let attempts = 0;
  const ports = withLog({
    commit(transaction) {
      attempts += 1;
      return commit(() => world.ports.log.commit(transaction), attempts, transaction);
    },
  });
  return { ports, attempts: () => attempts };
}

const guardOf = (rev: number): Guard => ({
  format: 1,
  requires: [],
  uri: "file:///x.png",
  family: "images",
  rev,
  sourceDigest: "0".repeat(64),
  pipelineId: "p",
  runs: [],
  failure: null,
  root: null,
});

describe("registerRuns()", () => {
  it("gives consecutive sequence numbers without a gap, and continues the rolling hash", async () => {
    const drafts = [draftOf(), draftOf(), draftOf()];
    const first = await registerRuns(world.ports, drafts.slice(0, 2));
    const second = await registerRuns(world.ports, drafts.slice(2));
    expect(first).toEqual({
      outcome: "registered",
      runs: drafts.slice(0, 2).map(({ runId }, index) => ({
        runId,
        collection: "lines",
        shard: "0-of-1",
        sequence: index + 1,
        records: 4,
      })),
    });
    expect(second).toMatchObject({ runs: [{ sequence: 3 }] });
    let runsHash = (await openPointerWorldHead()).runsHash;
    for (const [index, run] of (await runsOf()).entries()) {
      runsHash = nextRunsHash(runsHash, run.runId);
      expect(run).toMatchObject({ sequence: index + 1, runsHash });
    }
    expect(await headOf()).toMatchObject({ sequence: 3, runsHash });
  });
  const openPointerWorldHead = async () => {
    const fresh = await openPointerWorld(9);
    return (await fresh.ports.log.readHead(fresh.shard)) as Head;
  };

  it("F60 runs of several shards are registered together or not at all, and name each other", async () => {
    const words = await otherShard("words");
    const drafts = [draftOf(), draftOf(words)];
    const { ports } = committing(async (truly, attempt) => {
      if (attempt === 1) throw down();
      return truly();
    });
    await registerRuns(ports, drafts);
    const [[line], [word]] = [await runsOf(), await runsOf(words)];
    expect(line?.companions).toEqual([
      { collection: "words", shard: "0-of-1", runId: drafts[1]?.runId },
    ]);
    expect(word?.companions).toEqual([
      { collection: "lines", shard: "0-of-1", runId: drafts[0]?.runId },
    ]);
  });

  it("F51 a registration whose answer was lost keeps its sequence number", async () => {
    const draft = draftOf();
    const { ports, attempts } = committing(async (truly) => {
      await truly();
      throw down();
    });
    expect(await registerRuns(ports, [draft])).toMatchObject({
      outcome: "registered",
      runs: [{ sequence: 1 }],
    });
    expect(attempts()).toBe(1);
    expect(await runsOf()).toHaveLength(1);
  });

  it("F51 also when the log cannot be asked about it at first", async () => {
    let asked = 0;
    const { ports, attempts } = committing(async (truly, attempt) => {
      if (attempt > 1) return truly();
      await truly();
      throw down();
    });
    const log: RunLog = {
      ...ports.log,
      readRunIds(keys) {
        asked += 1;
        return asked === 1 ? Promise.reject(down()) : world.ports.log.readRunIds(keys);
      },
    };
    expect(await registerRuns({ ...ports, log }, [draftOf()])).toMatchObject({
      outcome: "registered",
      runs: [{ sequence: 1 }],
    });
    expect(attempts()).toBe(2);
    expect(await runsOf()).toHaveLength(1);
  });

  it("F51 also when the lost commit lands after the log was asked, and others went on", async () => {
    const draft = draftOf();
    const { ports } = committing(async (truly, attempt) => {
      if (attempt === 1) throw down();
      if (attempt > 2) return truly();
      // The first attempt arrives only now, and a later run of someone else after it.
      await truly();
      await registerRuns(world.ports, [draftOf()]);
      return truly();
    });
    expect(await registerRuns(ports, [draft])).toMatchObject({ runs: [{ sequence: 1 }] });
    expect((await runsOf()).map(({ runId }) => runId === draft.runId)).toEqual([true, false]);
  });

  it("F51 registering the same drafts again changes nothing and gives the same numbers", async () => {
    const drafts = [draftOf(), draftOf()];
    const first = await registerRuns(world.ports, drafts);
    const before = [await headOf(), await runsOf()];
    expect(await registerRuns(world.ports, drafts)).toEqual(first);
    expect([await headOf(), await runsOf()]).toEqual(before);
  });

  it("F51 fuzz: lost requests and answers never repeat, lose or reorder a writer's runs", async () => {
    for (let seed = 1; seed <= 200; seed++) {
      world = await openPointerWorld(seed);
      const dice = createSeededRandom(seed);
      const { ports } = committing(async (truly) => {
        if (dice.chance(0.3)) throw down();
        const outcome = await truly();
        if (dice.chance(0.3)) throw down();
        return outcome;
      });
      const writers = [1, 2, 3].map(() => [draftOf(), draftOf(), draftOf()]);
      await Promise.all(
        writers.map(async (drafts) => {
          for (const draft of drafts) await registerRuns(ports, [draft]);
        }),
      );
      const order = (await runsOf()).map(({ runId }) => runId);
      expect(order, `seed ${seed}`).toHaveLength(9);
      for (const drafts of writers) {
        const places = drafts.map(({ runId }) => order.indexOf(runId));
        expect(places, `seed ${seed}`).toEqual([...places].sort((a, b) => a - b));
        expect(places).not.toContain(-1);
      }
    }
  });

  it("does not repeat what is denied", async () => {
    let attempts = 0;
    const { ports } = committing(async () => {
      attempts += 1;
      throw new SiltError("unavailable", "access denied", { details: { denied: true } });
    });
    await expect(registerRuns(ports, [draftOf()])).rejects.toThrow("access denied");
    expect(attempts).toBe(1);
  });

  it("goes on from HEAD as it is after its pause, not as it was when it was refused", async () => {
    let attempts = 0;
    const { ports } = committing(async (truly, attempt) => {
      attempts = attempt;
      if (attempt === 1) await registerRuns(world.ports, [draftOf()]);
      return truly();
    });
    const sleep: Clock["sleep"] = async () => {
      await registerRuns(world.ports, [draftOf()]);
    };
    const clock = { ...ports.clock, sleep };
    expect(await registerRuns({ ...ports, clock }, [draftOf()])).toMatchObject({
      runs: [{ sequence: 3 }],
    });
    expect(attempts).toBe(2);
  });

  it("F10 gives up after a bounded number of lost races, with pauses that grow and are jittered", async () => {
    const pauses: number[] = [];
    const { ports, attempts } = committing(async (_, __, { appends }) => {
      const [append] = appends;
      return { outcome: "head-moved", shard: world.shard, head: append?.expected as Head };
    });
    const clock = { ...ports.clock, sleep: async (ms: number) => void pauses.push(ms) };
    await expect(registerRuns({ ...ports, clock }, [draftOf()])).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/other writers were faster 60 times; try again/),
    });
    expect(attempts()).toBe(60);
    expect(Math.max(...pauses)).toBeGreaterThan(500);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(1_000);
    expect(new Set(pauses).size).toBeGreaterThan(50);
  });

  it("F10 many writers at once all succeed, each once", async () => {
    const drafts = Array.from({ length: 50 }, () => draftOf());
    const outcomes = await Promise.all(drafts.map((draft) => registerRuns(world.ports, [draft])));
    const sequences = outcomes.flatMap((outcome) =>
      outcome.outcome === "registered" ? outcome.runs.map(({ sequence }) => sequence) : [],
    );
    expect(sequences.sort((a, b) => a - b)).toEqual(drafts.map((_, index) => index + 1));
  });

  it("with HEADs given registers on exactly these, or says that one moved", async () => {
    const heads = new Map([[shardPartition(world.shard), await headOf()]]);
    expect(await registerRuns(world.ports, [draftOf()], { heads })).toMatchObject({
      runs: [{ sequence: 1 }],
    });
    expect(await registerRuns(world.ports, [draftOf()], { heads })).toEqual({
      outcome: "head-moved",
    });
    expect(await runsOf()).toHaveLength(1);
  });

  it("F51 with HEADs given a lost answer is still found, though HEAD has moved by it", async () => {
    const heads = new Map([[shardPartition(world.shard), await headOf()]]);
    const { ports } = committing(async (truly, attempt) => {
      const outcome = await truly();
      if (attempt === 1) throw down();
      return outcome;
    });
    const log: RunLog = { ...ports.log, readRunIds: () => Promise.reject(down()) };
    let asked = 0;
    log.readRunIds = (keys) => {
      asked += 1;
      return asked === 1 ? Promise.reject(down()) : world.ports.log.readRunIds(keys);
    };
    expect(await registerRuns({ ...ports, log }, [draftOf()], { heads })).toMatchObject({
      outcome: "registered",
      runs: [{ sequence: 1 }],
    });
  });

  it("a moved guard refuses everything", async () => {
    const guards = (rev: number) => () => [{ expectedRev: rev - 1, next: guardOf(rev) }];
    const draft = draftOf();
    expect(await registerRuns(world.ports, [draft], { guards: guards(1) })).toMatchObject({
      outcome: "registered",
    });
    expect(await registerRuns(world.ports, [draftOf()], { guards: guards(1) })).toEqual({
      outcome: "guard-moved",
    });
    expect(await runsOf()).toHaveLength(1);
    expect(await registerRuns(world.ports, [draftOf()], { guards: guards(2) })).toMatchObject({
      runs: [{ sequence: 2 }],
    });
    expect(await world.ports.log.readGuard(guardOf(1))).toEqual(guardOf(2));
  });

  it("guards know the numbers that the runs got, also after a lost race", async () => {
    const seen: number[] = [];
    const { ports } = committing(async (truly, attempt) => {
      if (attempt === 1) await registerRuns(world.ports, [draftOf()]);
      return truly();
    });
    await registerRuns(ports, [draftOf()], {
      guards: ([run]) => {
        seen.push(run?.sequence ?? 0);
        return [];
      },
    });
    expect(seen).toEqual([1, 2]);
  });

  it("F50 a run that the collector gave up is not registered: its writer must upload again", async () => {
    const draft = draftOf();
    await world.ports.log.abandonRun(world.shard, draft.runId);
    expect(await registerRuns(world.ports, [draft])).toEqual({
      outcome: "abandoned",
      runId: draft.runId,
    });
    expect(await runsOf()).toEqual([]);
  });

  it("a run older than the log keeps is refused; after an unclear attempt its fate is unknown", async () => {
    const floor = "ffffffff-0000-7000-8000-000000000000";
    const answer: CommitOutcome = { outcome: "below-floor", runId: "old", floor };
    const clear = committing(async () => answer);
    await expect(registerRuns(clear.ports, [draftOf()])).rejects.toMatchObject({
      kind: "conflict",
      message: expect.stringMatching(/older than the log keeps.*write it again/),
    });
    const unclear = committing(async (_, attempt) => {
      if (attempt === 1) throw down();
      return answer;
    });
    await expect(registerRuns(unclear.ports, [draftOf()])).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/whether an earlier attempt was registered is unknown/),
    });
  });

  it("F52 never creates HEAD: a log that has none for the shard is not this store's", async () => {
    const nowhere = { ...world.shard, storeId: "store0000009" };
    await expect(registerRuns(world.ports, [draftOf(nowhere)])).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringMatching(/the log does not belong to this store/),
    });
    expect(await world.ports.log.readHead(nowhere)).toBeUndefined();
  });

  it("F23 a log that stays down is unavailable after a bounded number of attempts", async () => {
    const { ports, attempts } = committing(() => Promise.reject(down()));
    await expect(registerRuns(ports, [draftOf()])).rejects.toMatchObject({ kind: "unavailable" });
    expect(attempts()).toBe(60);
  });

  it("what is no failure of the environment is thrown at once", async () => {
    const bug = new Error("a bug");
    const { ports, attempts } = committing(() => Promise.reject(bug));
    await expect(registerRuns(ports, [draftOf()])).rejects.toBe(bug);
    expect(attempts()).toBe(1);
  });
});

describe("planRegistration()", () => {
  it("is pure, and appends to each shard once, whatever the order of the drafts", async () => {
    const words = await otherShard("words");
    const drafts = [draftOf(), draftOf(words), draftOf()];
    const heads = new Map([
      [shardPartition(world.shard), { ...(await headOf()), sequence: 7 }],
      [shardPartition(words), await headOf(words)],
    ]);
    const at = "2026-01-01T00:00:00.000Z";
    const plan = planRegistration(drafts, heads, {}, at);
    expect(plan).toEqual(planRegistration(structuredClone(drafts), heads, {}, at));
    const { appends } = plan.transaction;
    expect(
      appends.map(({ shard, runs }) => [shard.collection, runs.map((run) => run.sequence)]),
    ).toEqual([
      ["lines", [8, 9]],
      ["words", [1]],
    ]);
    expect(appends[0]?.next).toMatchObject({
      sequence: 9,
      runsHash: appends[0]?.runs[1]?.runsHash,
    });
    expect(plan.runs.map(({ sequence }) => sequence)).toEqual([8, 1, 9]);
  });
});
