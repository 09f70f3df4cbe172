/** Lost answers, conflicts and throttling on the way to DynamoDB, by a proxy that is really there. */
import { type AwsClients, createDynamoLeaseStore } from "@silt/aws";
import { type RunLog, registerRuns, type ShardRef } from "@silt/core";
import { createVirtualClock } from "@silt/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { dropTable, newTable, rootClients } from "../test-account.fixture.ts";
import {
  draftOf,
  guardOf,
  LINES,
  logOf,
  NEW_HEAD,
  portsOf,
  putGuards,
  WORDS,
} from "./dynamo-log.fixture.ts";
import { type DynamoProxy, openDynamoProxy, type SeenCall } from "./dynamo-proxy.fixture.ts";

/** Of one call, by the SDK itself. */
const SDK_ATTEMPTS = 5;

let clients: AwsClients;
let proxy: DynamoProxy;
let table: string;
/** Straight to the service. */
let truth: RunLog;
/** Through the proxy. */
let log: RunLog;
beforeEach(async () => {
  clients = rootClients();
  table = await newTable(clients);
  proxy = await openDynamoProxy();
  truth = logOf(clients, table);
  log = logOf(proxy.clients, table);
  for (const shard of [LINES, WORDS]) await truth.createShard(shard, NEW_HEAD);
});
afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await dropTable(clients, table);
  clients[Symbol.dispose]();
});

const callsOf = (operation: string): readonly SeenCall[] =>
  proxy.seen.filter((call) => call.operation === operation);
const tokens = () => callsOf("TransactWriteItems").map(({ body }) => body.ClientRequestToken);
const cancelledBy = (...codes: readonly string[]) => ({
  error: "TransactionCanceledException",
  body: { CancellationReasons: codes.map((Code) => ({ Code, Message: `${Code} by the test` })) },
});
const CONFLICT = cancelledBy("TransactionConflict", "None", "None");

async function expectOnce(runId: string, sequence: number, shard: ShardRef = LINES) {
  const runs = await truth.readRuns(shard, { after: 0, limit: 100 });
  expect(runs.filter((run) => run.runId === runId)).toMatchObject([{ sequence }]);
  expect((await truth.readHead(shard))?.sequence).toBe(runs.length);
}

describe("a committed registration whose answer was lost", () => {
  it("F51 is told apart by its token when the SDK asks again", async () => {
    proxy.treat(({ operation }, nth) =>
      operation === "TransactWriteItems" && nth <= 2 ? "lose-answer" : "pass",
    );
    const draft = draftOf(LINES);
    const outcome = await registerRuns(portsOf(log), [draft]);
    expect(outcome).toMatchObject({ outcome: "registered", runs: [{ sequence: 1 }] });
    expect(tokens()).toHaveLength(3);
    expect(new Set(tokens()).size).toBe(1);
    await expectOnce(draft.runId, 1);
  });

  it("F51 is found by its run id when no answer comes through, and registered once", async () => {
    proxy.treat(({ operation }) => (operation === "TransactWriteItems" ? "lose-answer" : "pass"));
    const drafts = [draftOf(LINES), draftOf(WORDS)];
    const outcome = await registerRuns(portsOf(log), drafts);
    expect(outcome).toMatchObject({ outcome: "registered" });
    expect(tokens()).toHaveLength(SDK_ATTEMPTS);
    await expectOnce(drafts[0]?.runId ?? "", 1);
    await expectOnce(drafts[1]?.runId ?? "", 1, WORDS);
  });

  it("F51 is known to the next attempt when the run ids could not be read either", async () => {
    let lost = 0;
    proxy.treat(({ operation }) => {
      if (operation === "TransactWriteItems" && lost < SDK_ATTEMPTS) {
        lost += 1;
        return "lose-answer";
      }
      return operation === "GetItem" && lost === SDK_ATTEMPTS && tokens().length === SDK_ATTEMPTS
        ? "lose-request"
        : "pass";
    });
    const guard = { expectedRev: 0, next: guardOf("file:///a") };
    const draft = draftOf(LINES);
    const outcome = await registerRuns(portsOf(log), [draft], { guards: () => [guard] });
    expect(outcome).toMatchObject({ outcome: "registered", runs: [{ sequence: 1 }] });
    expect(tokens()).toHaveLength(SDK_ATTEMPTS + 1);
    expect(new Set(tokens()).size).toBe(2);
    await expectOnce(draft.runId, 1);
  });

  it("F51 surfaces as unavailable from commit() itself", async () => {
    proxy.treat(({ operation }) => (operation === "TransactWriteItems" ? "lose-answer" : "pass"));
    await expect(putGuards(log, [guardOf("file:///a")])).rejects.toMatchObject({
      kind: "unavailable",
    });
    expect(await truth.readGuard(guardOf("file:///a"))).toEqual(guardOf("file:///a"));
  });
});

describe("a registration that meets others", () => {
  it("in flight tries again under a new token each time", async () => {
    proxy.treat(({ operation }, nth) =>
      operation === "TransactWriteItems" && nth <= 3 ? CONFLICT : "pass",
    );
    const draft = draftOf(LINES);
    await registerRuns(portsOf(log), [draft]);
    expect(tokens()).toHaveLength(4);
    expect(new Set(tokens()).size).toBe(4);
    await expectOnce(draft.runId, 1);
  });

  it("who moved HEAD learns it by a read, not by another transaction", async () => {
    const other = draftOf(LINES);
    let met = false;
    proxy.treat(({ operation }) => {
      if (operation !== "TransactWriteItems" || met) return "pass";
      met = true;
      return CONFLICT;
    });
    const draft = draftOf(LINES);
    const moving: RunLog = {
      ...log,
      async commit(transaction) {
        if (!met) await registerRuns(portsOf(truth), [other]);
        return log.commit(transaction);
      },
    };
    await registerRuns(portsOf(moving), [draft]);
    expect(tokens()).toHaveLength(2);
    await expectOnce(other.runId, 1);
    await expectOnce(draft.runId, 2);
  });

  it("all the time gives up after a bounded number of attempts, with nothing written", async () => {
    proxy.treat(({ operation }) => (operation === "TransactWriteItems" ? CONFLICT : "pass"));
    await expect(putGuards(log, [guardOf("file:///a")])).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("TransactionConflict"),
    });
    expect(tokens()).toHaveLength(12);
    expect(await truth.readGuard(guardOf("file:///a"))).toBeUndefined();
  });

  it("is throttled on one item and tries again, too", async () => {
    proxy.treat(({ operation }, nth) =>
      operation === "TransactWriteItems" && nth <= 2
        ? cancelledBy("None", "ThrottlingError", "ProvisionedThroughputExceeded")
        : "pass",
    );
    const draft = draftOf(LINES);
    await registerRuns(portsOf(log), [draft]);
    await expectOnce(draft.runId, 1);
  });

  it("is still under way asks for itself under its own token", async () => {
    proxy.treat(({ operation }, nth) =>
      operation === "TransactWriteItems" && nth <= SDK_ATTEMPTS
        ? { error: "TransactionInProgressException" }
        : "pass",
    );
    const draft = draftOf(LINES);
    await registerRuns(portsOf(log), [draft]);
    expect(tokens()).toHaveLength(SDK_ATTEMPTS + 1);
    expect(new Set(tokens()).size).toBe(1);
    await expectOnce(draft.runId, 1);
  });

  it("a request that the service finds wrong is a bug, and not tried again", async () => {
    proxy.treat(({ operation }) =>
      operation === "TransactWriteItems" ? cancelledBy("None", "ValidationError") : "pass",
    );
    await expect(putGuards(log, [guardOf("file:///a")])).rejects.toMatchObject({
      kind: "internal",
      message: expect.stringContaining("ValidationError"),
    });
    expect(tokens()).toHaveLength(1);
  });

  it("when only a run's reason is told, HEAD is looked at: it moved", async () => {
    await registerRuns(portsOf(truth), [draftOf(LINES)]);
    let refused = false;
    proxy.treat(({ operation }) => {
      if (operation !== "TransactWriteItems" || refused) return "pass";
      refused = true;
      return cancelledBy("None", "ConditionalCheckFailed", "None");
    });
    const draft = draftOf(LINES);
    const moving: RunLog = {
      ...log,
      async commit(transaction) {
        if (!refused) await registerRuns(portsOf(truth), [draftOf(LINES)]);
        return log.commit(transaction);
      },
    };
    await registerRuns(portsOf(moving), [draft]);
    await expectOnce(draft.runId, 3);
  });
});

describe("other calls that meet a transaction in flight", () => {
  it("readHeads() and readRunIds() of several ask again", async () => {
    proxy.treat(({ operation }, nth) =>
      operation === "TransactGetItems" && nth % 3 !== 0
        ? cancelledBy("TransactionConflict", "None")
        : "pass",
    );
    expect(await log.readHeads([LINES, WORDS])).toEqual([NEW_HEAD, NEW_HEAD]);
    const states = await log.readRunIds([draftOf(LINES), draftOf(WORDS)]);
    expect(states).toEqual([{ state: "absent" }, { state: "absent" }]);
    expect(callsOf("TransactGetItems")).toHaveLength(6);
  });

  it("announceExclusion() and resolveExclusion() write again", async () => {
    proxy.treat(({ operation }, nth) =>
      operation === "UpdateItem" && nth % 2 === 1
        ? { error: "TransactionConflictException" }
        : "pass",
    );
    await log.announceExclusion(LINES, "c");
    expect((await truth.readHead(LINES))?.excluding).toBe("c");
    await log.resolveExclusion(LINES, "c");
    expect(await truth.readHead(LINES)).toEqual({ ...NEW_HEAD, excludeRev: 1 });
  });

  it("a write that was repeated after a lost answer changes nothing more", async () => {
    proxy.treat((_, nth) => (nth === 1 ? "lose-answer" : "pass"));
    expect(await log.abandonRun(LINES, "run")).toBe("abandoned");
    await log.announceExclusion(LINES, "c");
    const lossy = () => proxy.treat((_, nth) => (nth % 2 === 1 ? "lose-answer" : "pass"));
    lossy();
    const version = { version: 3, commitId: "c".repeat(16) };
    const manifest = { key: "m", bytes: 1, sha256: "0".repeat(64), codec: "none" } as const;
    const pin = { owner: "ann", reason: "r", pinnedAt: "now", baseVersion: null };
    expect(await log.pinVersion(LINES, { ...version, manifest }, pin)).toEqual({
      outcome: "pinned",
    });
    await log.unpinVersion(LINES, version, "ann");
    expect(await log.retireVersion(LINES, version)).toEqual({ outcome: "retired" });
    await log.raiseApplied(LINES, { version: 2, appliedThrough: 5 });
    expect(await truth.readApplied(LINES)).toEqual({ version: 2, appliedThrough: 5 });
    expect(await truth.listVersions(LINES, { limit: 9 })).toMatchObject([
      { retired: true, pins: [] },
    ]);
    await log.resolveExclusion(LINES, "c");
    const head = await truth.readHead(LINES);
    expect(head?.excluding).toBeNull();
    expect(head?.excludeRev).toBeGreaterThanOrEqual(1);
  });
});

describe("a lease whose answer was lost", () => {
  const clock = createVirtualClock();
  const wanted = { holder: "ann", ttlMs: 30_000, skewMs: 2_000, aboveEpoch: 4 };
  const leases = () => createDynamoLeaseStore({ client: proxy.clients.dynamo, table }, clock);
  const read = () => createDynamoLeaseStore({ client: clients.dynamo, table }, clock).read(LINES);
  const lose = (operation: string, times: number) =>
    proxy.treat((call, nth) =>
      call.operation === operation && nth <= times ? "lose-answer" : "pass",
    );

  it.each([1, SDK_ATTEMPTS])("%i times is known for our own, and acquired", async (times) => {
    lose("PutItem", times);
    const acquired = await leases().acquire(LINES, wanted);
    expect(acquired).toMatchObject({ outcome: "acquired", lease: { holder: "ann", epoch: 5 } });
    expect(acquired).toEqual({ outcome: "acquired", lease: await read() });
    expect((await leases().acquire(LINES, wanted)).outcome).toBe("held");
  });

  it("was not acquired when the request itself was lost, and is free for the next", async () => {
    proxy.treat(({ operation }) => (operation === "PutItem" ? "lose-request" : "pass"));
    await expect(leases().acquire(LINES, wanted)).rejects.toMatchObject({ kind: "unavailable" });
    proxy.treat(() => "pass");
    expect((await leases().acquire(LINES, wanted)).outcome).toBe("acquired");
  });

  it("F4 that was free or expired when it was read, and taken since, is held", async () => {
    const direct = createDynamoLeaseStore({ client: clients.dynamo, table }, clock);
    for (const [epoch, holder] of [
      [5, "bob"],
      [6, "eve"],
    ] as const) {
      let taken = false;
      proxy.treat(async ({ operation }) => {
        if (operation === "PutItem" && !taken) {
          taken = true;
          await direct.acquire(LINES, { ...wanted, holder });
        }
        return "pass" as const;
      });
      expect(await leases().acquire(LINES, wanted)).toMatchObject({ outcome: "held", by: holder });
      expect(await read()).toMatchObject({ holder, epoch });
      await clock.advance(wanted.ttlMs + wanted.skewMs + 1);
    }
  });

  it("is released once, and extended, although the SDK asked twice", async () => {
    const acquired = await leases().acquire(LINES, wanted);
    if (acquired.outcome !== "acquired") throw new Error("held");
    lose("UpdateItem", 1);
    expect(await leases().extend(acquired.lease, 60_000)).toBe("extended");
    proxy.treat((call, nth) =>
      call.operation === "UpdateItem" && nth === 3 ? "lose-answer" : "pass",
    );
    expect(await leases().release(acquired.lease)).toBe("released");
    expect(callsOf("UpdateItem")).toHaveLength(4);
    expect(await leases().release(acquired.lease)).toBe("lost");
    expect(await read()).toBeUndefined();
  });
});
