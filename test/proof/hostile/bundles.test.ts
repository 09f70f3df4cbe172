/**
 * Issue 4, hostile input: every bundle of the corpus is uploaded to a real store and registered, as a
 * writer with a key to it could. Each is excluded alone, by its reason; nothing else is touched.
 */
import {
  countRows,
  deltaKey,
  encodeEmbedding,
  type Row,
  readPointer,
  registerRuns,
  type SegmentOwner,
  sha256Of,
  shardOfKey,
  shardRefs,
  uuidV7,
} from "@silt/core";
import { createSeededRandom } from "@silt/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bodyOf, runOf, SAMPLE } from "../../../packages/segment/src/hostile-bundle.fixture.ts";
import {
  expectSameContent,
  unstampedOf,
} from "../../../packages/segment/src/merge-trial.fixture.ts";
import { BUNDLE_CASES, type BundleCase } from "./bundle-cases.ts";
import {
  bundleAround,
  type ForgedBundle,
  insertRow,
  type SoundDelta,
  type SqliteDatabase,
  soundDelta,
  withSql,
} from "./forge-delta.ts";
import { contentsOf, type HostileWorld, NOTES, openHostileWorld } from "./hostile-world.ts";
import { SQLITE_CASES } from "./sqlite-cases.ts";

const CASES: readonly BundleCase[] = [...BUNDLE_CASES, ...SQLITE_CASES];
const MESSAGE_CHARS_MAX = 1_100;

let world: HostileWorld;
let owner: SegmentOwner;
let sound: SoundDelta;
const RUN_ID = uuidV7(Date.UTC(2026, 0, 1), new Uint8Array(16));
beforeAll(async () => {
  world = await openHostileWorld();
  const { identity } = await world.store.collection("notes");
  const [shard] = shardRefs(identity);
  if (shard === undefined) throw new Error("no shard");
  owner = { ...shard, vectors: identity.vectors };
  sound = await soundOf(RUN_ID);
});
afterAll(() => world[Symbol.asyncDispose]());

const random = createSeededRandom(1);
const nextRunId = () => uuidV7(Date.UTC(2026, 0, 1), random.bytes(16));

async function soundOf(runId: string): Promise<SoundDelta> {
  await using workbench = await world.store.context.ports.engine.openWorkbench();
  return await soundDelta(workbench, owner, runId);
}

/** Uploads and registers whatever it is. */
async function register({ tar, manifest }: ForgedBundle, runId: string): Promise<void> {
  const { ports } = world.store.context;
  const { collection, storeId, shard } = owner;
  const key = deltaKey(owner, runId);
  const delta = { key, bytes: tar.byteLength, sha256: sha256Of(tar), codec: "tar" } as const;
  const { bytes, sha256 } = delta;
  const condition = { ifAbsent: true } as const;
  await ports.objects.put(key, { kind: "bytes", bytes: tar }, { condition, bytes, sha256 });
  const draft = {
    shard: { collection, storeId, shard },
    runId,
    delta,
    rows: manifest.rows,
    replaced: manifest.replaced,
    source: null,
    retryOf: null,
  };
  const registered = await registerRuns(ports, [draft]);
  expect(registered.outcome).toBe("registered");
}

describe("F32 receiveDelta() on a hostile bundle", () => {
  for (const hostile of CASES) {
    it(`${hostile.says === "accepted" ? "reads exactly" : "names what is wrong with"} ${hostile.name}`, async () => {
      const before = world.outside();
      const { tar, manifest } = hostile.make(sound);
      await using workbench = await world.store.context.ports.engine.openWorkbench();
      const run = { ...runOf(tar, manifest), runId: RUN_ID };
      const received = await workbench.receiveDelta(owner, run, bodyOf(tar), { deep: true });
      if (hostile.says === "accepted") {
        // `deep`: the second build of SQLite has read the same.
        if (received.outcome === "poison") throw new Error(received.reason);
        expectSameContent(unstampedOf(await workbench.readDelta(received.input)), SAMPLE);
        expect(countRows(received.input.rows)).toBe(SAMPLE.rows.size);
      } else {
        if (received.outcome === "sound") throw new Error("it was taken");
        expect(received.reason).toMatch(hostile.says);
        expect(received.reason.length).toBeLessThan(MESSAGE_CHARS_MAX);
        expect(received.reason).not.toContain(world.inside);
      }
      expect(world.outside()).toBe(before);
    });
  }
});

describe("F55 F32 a bundle for one of several shards", () => {
  const put = (id: string, parent: string | null): Row => ({
    operation: "put",
    id,
    parent,
    embedding: encodeEmbedding([1, 2]),
    document: null,
    metadata: {},
    sequence: 0,
  });
  const elsewhere = (own: string) =>
    ["a", "b", "c", "d", "e", "f", "g"].find((key) => shardOfKey(key, 4) !== own) ?? "";

  it("is poison with an id, a child or a replaced parent of another shard", async () => {
    const own: SegmentOwner = { ...owner, shard: "0-of-4" };
    await using workbench = await world.store.context.ports.engine.openWorkbench();
    const nothing = { rows: new Map(), replaced: new Map() };
    const empty = await soundDelta(workbench, own, RUN_ID, nothing);
    const key = elsewhere(own.shard);
    for (const [damage, says] of [
      [(db: SqliteDatabase) => insertRow(db, put(key, null)), /it belongs to shard [1-3]-of-4/],
      [(db: SqliteDatabase) => insertRow(db, put(`${key}#1`, key)), /it belongs to shard/],
      [(db: SqliteDatabase) => insertRow(db, put("x", key)), /does not begin with its parent/],
      [
        (db: SqliteDatabase) => db.prepare("INSERT INTO replaced VALUES (?, 0)").run(key),
        /it belongs to shard/,
      ],
    ] as const) {
      const { tar, manifest } = bundleAround(empty, withSql(empty.sqlite, damage));
      const run = { ...runOf(tar, manifest), runId: RUN_ID };
      const received = await workbench.receiveDelta(own, run, bodyOf(tar));
      expect(received).toMatchObject({ outcome: "poison", reason: expect.stringMatching(says) });
    }
  });
});

describe("F23 F32 I7 all hostile bundles in one log, sound runs between them", () => {
  const hostile = CASES.filter(({ says }) => says !== "accepted");
  const runIds = new Map<string, BundleCase>();

  it("block a fresh read at the first, by its reason, and change no other answer", async () => {
    const before = await contentsOf(world.store);
    const notes = await world.store.collection("notes");
    for (const [index, one] of hostile.entries()) {
      if (index % 20 === 10) await notes.put([{ id: `sound-${index}`, embedding: [1, 1] }]);
      const runId = nextRunId();
      runIds.set(runId, one);
      await register(one.make(await soundOf(runId)), runId);
    }
    expect(await contentsOf(world.store)).toBe(before);
    const { shards } = await notes.get({ fresh: true });
    expect(shards?.[0]?.blockedBy?.reason).toMatch(hostile[0]?.says as RegExp);
    expect(await contentsOf(world.store, "notes", true)).toBe(before);
  });

  it("are excluded each alone, by its reason; the sound ones are applied", async () => {
    const outside = world.outside();
    const [report] = await world.store.compact();
    expect(report).toMatchObject({ outcome: "flipped" });
    expect(report?.excluded.map(({ runId }) => runId)).toEqual([...runIds.keys()]);
    for (const { runId, reason } of report?.excluded ?? []) {
      expect(reason, runIds.get(runId)?.name).toMatch(runIds.get(runId)?.says as RegExp);
    }
    const records = JSON.parse(await contentsOf(world.store)) as { id: string }[];
    const sound = hostile.flatMap((_, index) => (index % 20 === 10 ? [`sound-${index}`] : []));
    const ids = [...NOTES.map(({ id }) => id), ...sound].sort();
    expect(records.map(({ id }) => id)).toEqual(ids);
    expect(world.outside()).toBe(outside);
  });

  it("leave a store in which verify finds nothing but them", async () => {
    const { problems } = await world.store.verify({ deep: true });
    expect(new Set(problems.map(({ kind }) => kind))).toEqual(new Set(["excluded-run"]));
    expect(problems).toHaveLength(hostile.length);
    const { pointer } = await readPointer(world.store.context.ports.objects, owner);
    expect(pointer.manifest.bytes).toBeLessThan(hostile.length * (MESSAGE_CHARS_MAX + 500));
  });
});
