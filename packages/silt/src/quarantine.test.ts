import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isSiltError } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Collection } from "./collection.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

let temporary: TemporaryStore;
let notes: Collection;
beforeEach(async () => {
  temporary = await temporaryStore();
  notes = await temporary.store.collection("notes", { dimension: 2 });
});
afterEach(() => temporary[Symbol.asyncDispose]());

const record = (id: string, x = 1, parent?: string) => ({
  id,
  embedding: [x, 1],
  ...(parent !== undefined && { parent }),
});

async function bundlePath(runId: string): Promise<string> {
  const objects = await temporary.store.context.ports.objects.list("collections/", { limit: 999 });
  const found = objects.find(({ key }) => key.includes(runId));
  return join(temporary.location, found?.key ?? "");
}

/** Damages the bundle of a run; returns what mends it. */
async function damage(runId: string): Promise<() => void> {
  const path = await bundlePath(runId);
  const sound = readFileSync(path);
  const rotten = Buffer.from(sound);
  rotten[rotten.length >> 1] = (rotten[rotten.length >> 1] as number) ^ 16;
  chmodSync(path, 0o644);
  writeFileSync(path, rotten);
  return () => writeFileSync(path, sound);
}

const runIdOf = ({ runs }: { readonly runs: readonly { readonly runId: string }[] }) =>
  runs[0]?.runId ?? "";
const valuesOf = async () => {
  const { records } = await notes.get({ fresh: true, embeddings: true });
  return Object.fromEntries(records.map(({ id, embedding }) => [id, embedding?.[0]]));
};

describe("a damaged bundle", () => {
  it("F23 is excluded alone, and named by status, quarantine and verify; the rest goes on", async () => {
    await notes.put([record("before")]);
    const bad = runIdOf(await notes.put([record("lost")]));
    await notes.put([record("after")]);
    await damage(bad);
    const fresh = await notes.get({ fresh: true });
    expect(fresh.records.map(({ id }) => id)).toEqual(["before"]);
    expect(fresh).toMatchObject({
      behind: 2,
      shards: [{ blockedBy: { runId: bad, sequence: 2 } }],
    });

    const [report] = await temporary.store.compact();
    expect(report).toMatchObject({ outcome: "flipped", excluded: [{ runId: bad, sequence: 2 }] });
    expect(Object.keys(await valuesOf())).toEqual(["after", "before"]);
    const [status] = await temporary.store.status();
    expect(status?.shards[0]).toMatchObject({ excluded: 1, pending: 0 });
    expect(await temporary.store.quarantined()).toMatchObject([
      { runId: bad, sequence: 2, collection: "notes", retriedBy: null },
    ]);
    const verified = await temporary.store.verify();
    expect(verified.ok).toBe(false);
    expect(JSON.stringify(verified.problems)).toContain(bad);
  });

  it("F57 that is missing is never excluded: compaction fails and changes nothing", async () => {
    const gone = runIdOf(await notes.put([record("a")]));
    await notes.put([record("b")]);
    rmSync(await bundlePath(gone));
    const [report] = await temporary.store.compact();
    expect(report).toMatchObject({ outcome: "failed", excluded: [], error: { kind: "corrupt" } });
    expect(report?.error?.message).toContain(gone);
    const [status] = await temporary.store.status();
    expect(status?.shards[0]).toMatchObject({ version: 0, pending: 2, excluded: 0 });
  });
});

describe("Store.retryQuarantined()", () => {
  it("refuses while the bundle is unsound, and brings it back once it is mended", async () => {
    const bad = runIdOf(await notes.put([record("lost")]));
    const mend = await damage(bad);
    await temporary.store.compact();
    const refused = await temporary.store.retryQuarantined(bad).catch((error: unknown) => error);
    expect(isSiltError(refused, "corrupt")).toBe(true);
    mend();
    const { run, skipped } = await temporary.store.retryQuarantined(bad);
    expect({ sequence: run.sequence, skipped }).toEqual({ sequence: 2, skipped: 0 });
    expect(await valuesOf()).toEqual({ lost: 1 });
    await temporary.store.compact();
    expect(await valuesOf()).toEqual({ lost: 1 });
    expect(await temporary.store.quarantined()).toMatchObject([{ retriedBy: run.runId }]);
    expect((await temporary.store.status())[0]?.shards[0]?.excluded).toBe(0);
    expect((await temporary.store.verify()).problems).toEqual([]);
    await expect(temporary.store.retryQuarantined(bad)).rejects.toThrow(/came back/);
  });

  it("leaves out what was written, deleted or replaced since, compacted or not", async () => {
    await notes.put([record("child#old", 1, "page")]);
    const bad = runIdOf(
      await notes.put([
        record("kept", 5),
        record("rewritten", 5),
        record("deleted", 5),
        record("page#5", 5, "page"),
      ]),
    );
    const mend = await damage(bad);
    await temporary.store.compact();
    await notes.put([record("rewritten", 9)]);
    await notes.delete({ id: "deleted" });
    await temporary.store.compact();
    await notes.replace("page", [record("page#9", 9)]);
    mend();
    const { skipped } = await temporary.store.retryQuarantined(bad);
    expect(skipped).toBe(3);
    const expected = { kept: 5, "page#9": 9, rewritten: 9 };
    expect(await valuesOf()).toEqual(expected);
    await temporary.store.compact();
    expect(await valuesOf()).toEqual(expected);
  });

  it("of a replaced parent deletes only what is older than it", async () => {
    await notes.put([record("page#1", 1, "page"), record("page#2", 1, "page")]);
    const bad = runIdOf(await notes.replace("page", [record("page#3", 3)]));
    const mend = await damage(bad);
    await temporary.store.compact();
    await notes.put([record("page#2", 7, "page")]);
    mend();
    await temporary.store.retryQuarantined(bad);
    await temporary.store.compact();
    expect(await valuesOf()).toEqual({ "page#2": 7, "page#3": 3 });
  });

  it("is refused for a run that was submitted again already, though not applied yet", async () => {
    const bad = runIdOf(await notes.put([record("lost", 1)]));
    const mend = await damage(bad);
    await temporary.store.compact();
    mend();
    await temporary.store.retryQuarantined(bad);
    await notes.put([record("lost", 2)]);
    await expect(temporary.store.retryQuarantined(bad)).rejects.toThrow(/already|pending/);
    expect(await valuesOf()).toEqual({ lost: 2 });
  });
});
