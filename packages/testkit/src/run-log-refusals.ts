import {
  type Head,
  type LogTransaction,
  planRegistration,
  type RunDraft,
  type ShardRef,
  sha256Of,
  shardPartition,
  uuidV7,
} from "@silt/core";
import { expect, it } from "vitest";
import {
  AT,
  commitRuns,
  draftOf,
  guardOf,
  LINES,
  NEW_HEAD,
  NOW_MS,
  NOWHERE,
  planOf,
  type RunLogFixture,
  traceOf,
  WORDS,
} from "./run-log-fixture.ts";

/** Each condition alone, in a transaction whose other parts would all be accepted. */
export function refusalClaims(fixture: () => RunLogFixture): void {
  const URI = "file:///refused.png";

  /** A transaction over both shards and a new guard, changed by `spoil`. */
  async function expectRefused(
    spoil: (plan: LogTransaction, drafts: readonly RunDraft[]) => LogTransaction,
    expected: object | ((drafts: readonly RunDraft[]) => object),
  ): Promise<void> {
    const drafts = [draftOf(fixture(), WORDS), draftOf(fixture())];
    const before = await traceOf(fixture(), drafts, [URI]);
    const plan = await planOf(fixture(), drafts, [{ expectedRev: 0, next: guardOf(URI, 1) }]);
    const outcome = await fixture().log.commit(spoil(plan, drafts));
    expect(outcome).toEqual(typeof expected === "function" ? expected(drafts) : expected);
    expect(await traceOf(fixture(), drafts, [URI])).toEqual(before);
  }

  const spoilShard = (
    plan: LogTransaction,
    shard: ShardRef,
    change: (append: LogTransaction["appends"][number]) => LogTransaction["appends"][number],
  ): LogTransaction => ({
    ...plan,
    appends: plan.appends.map((append) =>
      append.shard.collection === shard.collection ? change(append) : append,
    ),
  });

  it("commit() on a shard without HEAD is refused as a whole (F52)", async () => {
    await expectRefused(
      (plan) => spoilShard(plan, LINES, (append) => ({ ...append, shard: NOWHERE })),
      { outcome: "no-head", shard: NOWHERE },
    );
    expect(await fixture().log.readHead(NOWHERE)).toBeUndefined();
  });

  it("F51 commit() of a run id that is registered is refused as a whole", async () => {
    const known = draftOf(fixture());
    await commitRuns(fixture(), [known]);
    await expectRefused(
      (plan) =>
        spoilShard(plan, LINES, (append) => ({
          ...append,
          runs: append.runs.map((run) => ({ ...run, runId: known.runId })),
        })),
      { outcome: "run-known", runId: known.runId, state: { state: "registered", sequence: 1 } },
    );
  });

  it("F50 commit() of a run id that is abandoned is refused as a whole", async () => {
    const { log } = fixture();
    const runId = uuidV7(NOW_MS, fixture().random.bytes(16));
    expect(await log.abandonRun(LINES, runId)).toBe("abandoned");
    await expectRefused(
      (plan) =>
        spoilShard(plan, LINES, (append) => ({
          ...append,
          runs: append.runs.map((run) => ({ ...run, runId })),
        })),
      { outcome: "run-known", runId, state: { state: "abandoned" } },
    );
  });

  it("commit() of a run id below the floor is refused as a whole", async () => {
    const floor = uuidV7(NOW_MS + 1_000, fixture().random.bytes(16));
    const drafts = [draftOf(fixture())];
    const shard = { ...LINES, collection: "old" };
    await fixture().log.createShard(shard, { ...NEW_HEAD, floor });
    const moved = drafts.map((draft) => ({ ...draft, shard }));
    const outcome = await commitRuns(fixture(), [draftOf(fixture(), WORDS), ...moved]);
    expect(outcome).toEqual({ outcome: "below-floor", runId: drafts[0]?.runId, floor });
    expect((await fixture().log.readHead(shard))?.sequence).toBe(0);
    expect((await fixture().log.readHead(WORDS))?.sequence).toBe(0);
    expect(await fixture().log.readRuns(WORDS, { after: 0, limit: 10 })).toEqual([]);
  });

  it("commit() on a guard that moved is refused as a whole", async () => {
    const { log } = fixture();
    const uri = "file:///moved.png";
    const now = guardOf(uri, 2);
    await log.commit({ appends: [], guards: [{ expectedRev: 0, next: guardOf(uri, 1) }] });
    await log.commit({ appends: [], guards: [{ expectedRev: 1, next: now }] });
    const stale = { expectedRev: 1, next: { ...guardOf(uri, 2), pipelineId: "stale" } };
    await expectRefused((plan) => ({ ...plan, guards: [...plan.guards, stale] }), {
      outcome: "guard-moved",
      guard: now,
    });
    expect(await log.readGuard(now)).toEqual(now);
  });

  it("commit() on a guard that must not exist, or must, is refused as a whole", async () => {
    const { log } = fixture();
    const uri = "file:///there.png";
    const absent = { expectedRev: 1, next: guardOf(uri, 2) };
    await expectRefused((plan) => ({ ...plan, guards: [...plan.guards, absent] }), {
      outcome: "guard-moved",
      guard: undefined,
    });
    await log.commit({ appends: [], guards: [{ expectedRev: 0, next: guardOf(uri, 1) }] });
    const again = { expectedRev: 0, next: guardOf(uri, 1) };
    await expectRefused((plan) => ({ ...plan, guards: [...plan.guards, again] }), {
      outcome: "guard-moved",
      guard: guardOf(uri, 1),
    });
  });

  it("commit() on a HEAD that moved is refused as a whole, and answers the HEAD", async () => {
    await commitRuns(fixture(), [draftOf(fixture())]);
    const head = await fixture().log.readHead(LINES);
    await expectRefused(
      (plan) =>
        spoilShard(plan, LINES, (append) => ({
          ...append,
          expected: NEW_HEAD,
          next: { ...append.next, sequence: 1 },
          runs: append.runs.map((run) => ({ ...run, sequence: 1 })),
        })),
      { outcome: "head-moved", shard: LINES, head },
    );
  });

  it("commit() on a HEAD that differs in anything but its sequence is refused too", async () => {
    const spoiled: readonly Partial<Head>[] = [
      { runsHash: sha256Of("restored") },
      { floor: "0" },
      { excluding: "commit-a" },
      { excludeRev: 1 },
    ];
    for (const difference of spoiled) {
      await expectRefused(
        (plan) =>
          spoilShard(plan, LINES, (append) => ({
            ...append,
            expected: { ...append.expected, ...difference },
          })),
        { outcome: "head-moved", shard: LINES, head: NEW_HEAD },
      );
    }
  });

  it("commit() names the first failed condition: run, then guard, then HEAD", async () => {
    const { log } = fixture();
    const known = draftOf(fixture());
    const first = await planOf(fixture(), [known], [{ expectedRev: 0, next: guardOf(URI, 1) }]);
    await log.commit(first);
    expect(await log.commit(first)).toMatchObject({ outcome: "run-known", runId: known.runId });
    const fresh = planRegistration(
      [draftOf(fixture())],
      new Map([[shardPartition(LINES), NEW_HEAD]]),
      { guards: () => [{ expectedRev: 0, next: guardOf(URI, 1) }] },
      AT,
    ).transaction;
    expect(await log.commit(fresh)).toMatchObject({ outcome: "guard-moved" });
    expect(await log.commit({ ...fresh, guards: [] })).toMatchObject({ outcome: "head-moved" });
  });
}
