/** What is no damage, several damages at once, and verifying while others work. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  type CollectionIdentity,
  collectionKey,
  collectShard,
  compactShard,
  encodeEmbedding,
  ensureCollection,
  openCollection,
  type Policy,
  type Ports,
  pointerKey,
  publishDelta,
  type SegmentContent,
  type ShardRef,
  SiltError,
  shardRefs,
  updatePolicy,
  type VerifyReport,
  verifyStore,
} from "@silt/core";
import { createSeededRandom, randomContent } from "@silt/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LocalPorts } from "../../packages/local/src/index.ts";
import {
  buildStore,
  flipBit,
  objectKeys,
  openStoreFolder,
  overwrite,
  SHAPE,
  truncate,
  verifyAt,
  write,
} from "./store-copy.fixture.ts";

const folder = openStoreFolder();
beforeAll(() => buildStore(folder));
afterAll(() => folder[Symbol.asyncDispose]());

interface OpenLines extends AsyncDisposable {
  readonly root: string;
  readonly ports: LocalPorts;
  readonly identity: CollectionIdentity;
  readonly policy: Policy;
  readonly shard: ShardRef;
}

/** A fresh copy, open at its collection `lines`. */
async function openLines(): Promise<OpenLines> {
  const root = folder.copy();
  const ports = await folder.open(root);
  const opened = await openCollection(ports, "lines");
  if (opened === undefined) throw new Error("no lines");
  const [shard] = shardRefs(opened.identity) as [ShardRef];
  return { root, ports, ...opened, shard, [Symbol.asyncDispose]: ports[Symbol.asyncDispose] };
}

const compact = ({ ports, identity, policy, shard }: OpenLines) =>
  compactShard(ports, identity, policy, shard, { holder: "test" });

const ONE_ROW: SegmentContent = {
  rows: new Map([
    [
      "id-1",
      {
        operation: "put",
        id: "id-1",
        parent: null,
        embedding: encodeEmbedding([1, 2, 3, 4]),
        document: null,
        metadata: {},
        sequence: 0,
      },
    ],
  ]),
  replaced: new Map(),
};

const named = (report: VerifyReport) => report.problems.map(({ object, kind }) => [object, kind]);
const noticed = (report: VerifyReport) => report.notices.map(({ object, kind }) => [object, kind]);

function place(root: string, key: string, text = "x"): void {
  mkdirSync(dirname(join(root, key)), { recursive: true });
  writeFileSync(join(root, key), text);
}

describe("verifyStore() takes for leftovers, never for damage", () => {
  it("F50 a bundle that a live writer has not registered yet", async () => {
    await using lines = await openLines();
    const { ports, identity, shard } = lines;
    await using workbench = await ports.engine.openWorkbench();
    const owner = { ...shard, vectors: identity.vectors };
    const draft = await publishDelta(ports, workbench, owner, ONE_ROW);
    const report = await verifyStore(ports);
    expect(report.ok).toBe(true);
    expect(noticed(report)).toEqual([[draft.delta.key, "leftover"]]);
  });

  it("versions that were never flipped, strange keys, and folders that no collection has", async () => {
    const root = folder.copy();
    const shard = dirname(objectKeys(root).find((key) => key.includes("latest-pointer")) as string);
    const strays = [
      `${shard}/snapshots/9-0123456789abcdef/1-9.sqlite`,
      `${shard}/snapshots/2-0123456789abcdef/manifest.json`,
      `${shard}/snapshots/notes.txt`,
      `${shard}/deltas/notes.tar`,
      `${shard}/notes.txt`,
      "collections/lines/notes.txt",
      "collections/notes.txt",
    ];
    for (const key of strays) place(root, key);
    place(root, "collections/lines/another-store/shards/0-of-1/deltas/x.tar");
    place(root, "collections/begun/policy.json");
    const report = await verifyAt(folder, root);
    expect(report.problems).toEqual([]);
    expect(noticed(report).sort()).toEqual(
      [...strays, "collections/lines/another-store/shards/0-of-1/", "collections/begun/"]
        .map((key) => [key, "leftover"])
        .sort(),
    );
  });
});

describe("verifyStore() goes on after damage", () => {
  it("F8 a collection.json that is gone is damage, and its shards are checked all the same", async () => {
    const root = folder.copy();
    rmSync(join(root, "collections/lines/collection.json"));
    const segment = objectKeys(root).findLast((key) => /lines.*\.sqlite$/.test(key)) as string;
    flipBit(join(root, segment), 0.9);
    const report = await verifyAt(folder, root);
    expect(named(report)).toEqual([
      ["collections/lines/collection.json", "collection-missing"],
      [segment, "segment-damaged"],
    ]);
    expect(report.checked.objects).toBeGreaterThan(objectKeys(root).length - 2);
  });

  it("without pointer, and with many damages at once, each is named", async () => {
    const root = folder.copy();
    const keys = objectKeys(root).filter((key) => key.startsWith("collections/lines/"));
    const find = (pattern: RegExp) => keys.find((key) => pattern.test(key)) as string;
    const damaged = [
      find(/policy\.json$/),
      find(/latest-pointer\.json$/),
      find(/\/1-\w+\/manifest\.json$/),
      find(/\/4-\w+\/.*\.sqlite$/),
      find(/\/3-\w+\/.*\.sqlite$/),
      ...keys.filter((key) => key.endsWith(".tar")).slice(0, 3),
    ];
    for (const key of damaged) truncate(join(root, key), 9);
    const report = await verifyAt(folder, root);
    expect(
      named(report)
        .map(([object]) => object)
        .sort(),
    ).toEqual(damaged.sort());
  });

  it("F57 failures of the environment are thrown, not reported", async () => {
    await using lines = await openLines();
    for (const [step, method] of [
      ["latest-pointer", "get"],
      [".sqlite", "read"],
      [".tar", "read"],
    ] as const) {
      const failing = async (key: string, ...rest: readonly unknown[]) => {
        if (key.includes(step)) throw new SiltError("unavailable", "throttled");
        return (lines.ports.objects[method] as (...all: unknown[]) => unknown)(key, ...rest);
      };
      const ports = { ...lines.ports, objects: { ...lines.ports.objects, [method]: failing } };
      await expect(verifyStore(ports as Ports)).rejects.toMatchObject({ kind: "unavailable" });
    }
  });

  it("refuses a collection of which nothing is there", async () => {
    await using lines = await openLines();
    for (const name of ["nothing", "../x"]) {
      const verified = verifyStore(lines.ports, { collections: [name] });
      await expect(verified).rejects.toMatchObject({
        kind: "invalid",
        message: expect.stringContaining("there are lines, words"),
      });
    }
  });
});

describe("F8 F52 verifyStore() names what would be lost unseen", () => {
  it("an old pointer that was put back", async () => {
    await using lines = await openLines();
    const { root, ports, identity, shard } = lines;
    const key = pointerKey(shard);
    const before = readFileSync(join(root, key));
    for (const strategy of ["tiered", "single"] as const) {
      await write(ports, identity, shard, ONE_ROW);
      const compaction = { ...lines.policy.compaction, strategy };
      await compact({ ...lines, policy: { ...lines.policy, compaction } });
    }
    expect((await verifyStore(ports)).problems).toEqual([]);
    overwrite(join(root, key), before);
    expect(named(await verifyStore(ports))).toEqual([[key, "pointer-outdated"]]);
  });

  it("acknowledged runs of a collection that was created a second time", async () => {
    await using lines = await openLines();
    const { root, ports, shard } = lines;
    const [collection, aside] = [join(root, "collections/lines"), join(root, "aside")];
    renameSync(collection, aside);
    await ensureCollection(ports, "lines", { dimension: 4 });
    renameSync(join(aside, shard.storeId), join(collection, shard.storeId));
    const report = await verifyStore(ports);
    expect(named(report)).toEqual([[collectionKey("lines"), "collection-mismatch"]]);
    expect(report.problems[0]?.message).toContain(
      `store id ${shard.storeId}, shard 0-of-1, which has 6 acknowledged runs`,
    );
  });
});

describe("verifyStore() tells of exclusions", () => {
  it("an open one is a problem with run, reason and remedy; one that came back is a notice", async () => {
    await using lines = await openLines();
    const { root, ports, identity, shard } = lines;
    const bad = await write(ports, identity, shard, ONE_ROW);
    flipBit(join(root, bad.delta.key), 0.5);
    const pending = await verifyStore(ports);
    expect(named(pending)).toEqual([[bad.delta.key, "bundle-damaged"]]);

    expect((await compact(lines)).excluded).toMatchObject([{ runId: bad.runId }]);
    const open = await verifyStore(ports);
    expect(open.problems).toMatchObject([
      { kind: "excluded-run", object: expect.stringContaining("log: run 7 of lines/") },
    ]);
    expect(open.problems[0]?.message).toContain(bad.runId);
    expect(open.problems[0]?.message).toContain("hash");
    expect(open.problems[0]?.message).toContain("bundle of run 7 now: ");
    expect(open.problems[0]?.remedy).toContain(`silt quarantine retry ${bad.runId}`);

    rmSync(join(root, bad.delta.key));
    const gone = await verifyStore(ports);
    expect(gone.problems).toMatchObject([
      { kind: "excluded-run", message: expect.stringMatching(/bundle of run 7 now: it is gone$/) },
    ]);

    await write(ports, identity, shard, ONE_ROW, { retryOf: 7 });
    await compact(lines);
    const closed = await verifyStore(ports);
    expect(closed.problems).toEqual([]);
    expect(noticed(closed)).toEqual([
      [bad.delta.key, "history-gone"],
      [open.problems[0]?.object, "excluded-run"],
    ]);
  });
});

/** Every file of a store and its bytes, but for the log's own housekeeping. */
function traceOf(root: string): string {
  const hash = createHash("sha256");
  for (const key of objectKeys(root)) hash.update(key).update(readFileSync(join(root, key)));
  return hash.digest("hex");
}

describe("verifyStore() beside others", () => {
  it("changes nothing, and leaves no temporary file", async () => {
    await using lines = await openLines();
    const before = traceOf(lines.root);
    const steps: (readonly [number, number])[] = [];
    const onProgress = (done: number, total: number) => steps.push([done, total]);
    await verifyStore(lines.ports, { deep: true, onProgress });
    expect(traceOf(lines.root)).toBe(before);
    expect(folder.leftovers()).toEqual([]);
    expect(steps.every(([done, total], index) => done === index + 1 && done <= total)).toBe(true);
    expect(steps.at(-1)?.[0]).toBe(steps.at(-1)?.[1]);
  });

  it("F43 starts a shard over when the pointer moved and a collector took what it was reading", async () => {
    await using lines = await openLines();
    const { ports } = lines;
    let collected = 0;
    let deleted = 0;
    const read: Ports["objects"]["read"] = async (key) => {
      if (collected === 0 && key.includes("/snapshots/")) {
        collected += 1;
        await setSingle(lines);
        deleted = await collectAll(lines);
      }
      return ports.objects.read(key);
    };
    const report = await verifyStore({ ...ports, objects: { ...ports.objects, read } });
    expect(collected).toBe(1);
    expect(deleted).toBeGreaterThan(5);
    expect(report.problems).toEqual([]);
    expect(noticed(report)).toEqual([]);
  });

  it("has no false problem while runs are registered and compacted all the time", async () => {
    await using lines = await openLines();
    const { ports, identity, shard } = lines;
    const random = createSeededRandom(5);
    let working = true;
    const work = (async () => {
      for (let round = 0; working && round < 1_000; round++) {
        await write(ports, identity, shard, randomContent(random, SHAPE));
        if (round % 2 === 0) await compact(lines);
      }
    })();
    for (let pass = 0; pass < 3; pass++) {
      const report = await verifyStore(ports);
      expect(report.problems).toEqual([]);
      expect(
        report.notices.filter(({ kind }) => kind !== "leftover" && kind !== "flip-not-noted"),
      ).toEqual([]);
    }
    working = false;
    await work;
    expect((await verifyStore(ports)).notices).toEqual([]);
  }, 30_000);

  it("stops when it is told to", async () => {
    await using lines = await openLines();
    const stop = new AbortController();
    const onProgress = (done: number) => {
      if (done === 9) stop.abort(new SiltError("unavailable", "stopped by a person"));
    };
    const verified = verifyStore(lines.ports, { signal: stop.signal, onProgress });
    await expect(verified).rejects.toThrow(/stopped by a person/);
  });
});

/** A flip that merges everything into one segment. */
async function setSingle(lines: OpenLines): Promise<void> {
  const compaction = { ...lines.policy.compaction, strategy: "single" as const };
  await compact({ ...lines, policy: { ...lines.policy, compaction } });
}

/** Collects everything but the current version, at once; gives the number of objects. */
async function collectAll({ ports, identity, shard }: OpenLines): Promise<number> {
  const retention = { versionsKept: 1, versionsKeptMs: 0, deltasKeptMs: null, graceMs: 0 };
  await updatePolicy(ports, shard.collection, (policy) => ({ ...policy, retention }));
  const options = { holder: "collector", delete: true };
  return (await collectShard(ports, identity, shard, options)).deleted.length;
}
