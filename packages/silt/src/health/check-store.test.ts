/** What `doctor` says about stores that are not well, each as somebody would find it. */
import { readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collectionKey, pointerKey, type ShardRef, shardRefs } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Collection } from "../collection.ts";
import { type TemporaryStore, temporaryStore } from "../temporary-store.fixture.ts";
import type { HealthCheck } from "./health-report.ts";

let temporary: TemporaryStore;
let notes: Collection;
beforeEach(async () => {
  temporary = await temporaryStore();
  notes = await temporary.store.collection("notes", { dimension: 2 });
  await notes.put([{ id: "a", embedding: [1, 1] }]);
  await temporary.store.compact();
});
afterEach(() => temporary[Symbol.asyncDispose]());

const pathOf = (key: string) => join(temporary.location, key);
const shard = (): ShardRef => shardRefs(notes.identity)[0] ?? expect.fail("there is one");
/** What is not as it should be, and whether it needs a person. */
async function told(): Promise<readonly (readonly [HealthCheck["state"], string])[]> {
  const { ok, checks } = await temporary.store.doctor();
  expect(ok).toBe(checks.every(({ state }) => state !== "problem"));
  return checks.flatMap(({ state, name, message }) =>
    state === "ok" ? [] : [[state, `${name}: ${message}`] as const],
  );
}

describe("Store.doctor()", () => {
  it("says nothing of a store that is well, but the versions of what it runs on", async () => {
    expect(await told()).toEqual([]);
    const { checks } = await temporary.store.doctor();
    expect(checks[0]?.message).toMatch(/^Silt \d+\.\d+\.\d+, Node \d+.*, SQLite 3\.\d+/);
    const before = readdirSync(temporary.location, { recursive: true }).sort();
    await temporary.store.doctor();
    expect(readdirSync(temporary.location, { recursive: true }).sort()).toEqual(before);
  });

  it("F8 F52 names a pointer that is gone, one that was put back, and a collection that lost its file", async () => {
    const key = pointerKey(shard());
    renameSync(pathOf(key), pathOf("kept"));
    expect(await told()).toEqual([
      ["problem", expect.stringMatching(/^notes 0-of-1: .*it is gone/)],
    ]);
    renameSync(pathOf("kept"), pathOf(key));
    expect(await told()).toEqual([]);

    await temporary.store.context.ports.log.raiseApplied(shard(), {
      version: 9,
      appliedThrough: 1,
    });
    expect(await told()).toEqual([
      ["problem", expect.stringMatching(/pointer is at version 1, the log has seen version 9/)],
    ]);
    rmSync(pathOf(collectionKey("notes")));
    expect(await told()).toEqual([["problem", expect.stringMatching(/^notes: .*is gone, but/)]]);
  });

  it("tells a lease that lives from one whose holder died", async () => {
    const { leases } = temporary.store.context.ports;
    const lease = { holder: "box/1", ttlMs: 60_000, skewMs: 0, aboveEpoch: 1 };
    const held = await leases.acquire(shard(), lease);
    const { checks } = await temporary.store.doctor();
    expect(checks).toContainEqual({
      name: "notes 0-of-1",
      state: "ok",
      message: '"box/1" compacts it now',
      remedy: null,
    });
    if (held.outcome === "acquired") await leases.extend(held.lease, -1_000);
    expect(await told()).toEqual([
      ["notice", expect.stringMatching(/"box\/1" died while it compacted/)],
    ]);
  });

  it("tells of a rollback that died: it holds deletes by filter back until the next version", async () => {
    await temporary.store.context.ports.log.announceExclusion(shard(), "0123456789abcdef");
    expect(await told()).toEqual([["notice", expect.stringMatching(/deletes by filter wait/)]]);
    await temporary.store.compact();
    expect(await told()).toEqual([]);
  });

  it("F41 counts what nothing needs, without planning its deletion", async () => {
    await temporary.store.setPolicy("notes", (policy) => ({
      ...policy,
      retention: { ...policy.retention, versionsKept: 1, versionsKeptMs: 0 },
    }));
    const orphan = pointerKey(shard()).replace(
      "latest-pointer.json",
      "deltas/01900000-0000-7000-8000-000000000000.tar",
    );
    writeFileSync(pathOf(orphan), "never registered");
    expect(await told()).toEqual([
      ["notice", expect.stringMatching(/no longer needed: 2 objects/)],
    ]);
    expect(readdirSync(join(pathOf(orphan), "../.."))).not.toContain("plans");
  });

  it("F46 tells of files that were put aside in the cache, and of temporary ones", async () => {
    await notes.get();
    writeFileSync(join(temporary.folder, "cache", "x.sqlite.bad"), "bad");
    writeFileSync(pathOf("tmp/something"), "left");
    expect(await told()).toEqual([
      ["notice", "tmp: 1 temporary file, 4 B"],
      ["notice", expect.stringMatching(/^cache: .*put aside as damaged: 1 file$/)],
    ]);
  });
});
