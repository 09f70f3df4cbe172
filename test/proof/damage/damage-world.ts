/**
 * The store that is damaged: two collections, every kind of object and log row, some history, an
 * excluded run that came back, an abandoned run id, guards. And the truth: what each run wrote.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type CollectionIdentity,
  compactShard,
  ensureCollection,
  type Guard,
  type Policy,
  type Ports,
  pointerKey,
  policyKey,
  publishDelta,
  type RunDraft,
  readPointer,
  registerRuns,
  type SegmentContent,
  type ShardRef,
  shardPrefix,
  shardRefs,
  stampSequence,
  storePlan,
  updatePolicy,
  uuidV7,
  type VerifyReport,
  verifyStore,
} from "@silt/core";
import {
  createSeededRandom,
  createVirtualClock,
  randomContent,
  type SeededRandom,
  silentLogger,
  silentMetrics,
} from "@silt/testkit";
import { openLocalPorts } from "../../../packages/local/src/index.ts";
import { createSegmentEngine } from "../../../packages/segment/src/index.ts";
import type { RunCounts } from "./damage-case.ts";
import { checkpointed, soundContent } from "./log-rows.ts";

const SHAPE = { ids: 14, parents: 3, operationsMax: 9, dimension: 4 };
const FAMILY = "images";

/** One collection of the store, with one shard. */
export interface DamagedCollection {
  readonly identity: CollectionIdentity;
  readonly shard: ShardRef;
  /** What run 1, 2, … wrote. */
  readonly contents: readonly SegmentContent[];
  /** Sequence numbers that the current version leaves out. */
  readonly excluded: readonly number[];
  readonly version: number;
  readonly appliedThrough: number;
  readonly runs: readonly RunDraft[];
}

export interface DamageWorld extends AsyncDisposable {
  /** For caches and what else lies beside the store. */
  readonly folder: string;
  /** The path of an object, as what damages it calls it. */
  pathOf(key: string): string;
  /** What a refusal calls the log. */
  readonly logName: string;
  /** The collection whose things are damaged. */
  readonly lines: DamagedCollection;
  /** The rest of the store. */
  readonly words: DamagedCollection;
  /** Earlier states of the files that are overwritten, by path in the store, oldest first. */
  readonly older: ReadonlyMap<string, readonly Uint8Array[]>;
  /** What the runs were when each earlier log was kept. */
  readonly olderLogs: readonly RunCounts[];
  /** What `verify` says of the undamaged store. */
  readonly baseline: VerifyReport;
  open(): Promise<OpenPorts>;
}

/** A world whose store is a folder. */
export interface LocalDamageWorld extends DamageWorld {
  readonly root: string;
  /** What every row of the undamaged log says. */
  readonly soundLog: string;
}

export type OpenPorts = Ports & (Disposable | AsyncDisposable);

/** A store that is being made, and reached behind its back. */
export interface Making {
  readonly ports: Ports;
  readonly random: SeededRandom;
  readonly older: Map<string, Uint8Array[]>;
  readonly olderLogs: RunCounts[];
  readBytes(key: string): Uint8Array | Promise<Uint8Array>;
  writeBytes(key: string, bytes: Uint8Array): void | Promise<void>;
  /** All of the log as it is now. */
  copyLog(): Uint8Array | Promise<Uint8Array>;
  counts: () => RunCounts;
}

/** What `older` calls the log. */
export const OLDER_LOG = "log.sqlite";

/** Builds the world in a temporary folder, in memory where the machine has such a folder. */
export async function buildDamageWorld(seed: number): Promise<LocalDamageWorld> {
  const folder = newWorldFolder();
  const root = join(folder, "store");
  const engine = createSegmentEngine({ tempRoot: folder, logger: silentLogger });
  const random = createSeededRandom(seed);
  const clock = createVirtualClock({ sleeps: "skip" });
  const environment = { engine, logger: silentLogger, metrics: silentMetrics, clock, random };
  const open = (create = false) => openLocalPorts(root, { create, ...environment });
  const older = new Map<string, Uint8Array[]>();
  const olderLogs: RunCounts[] = [];
  const made = await (async () => {
    await using ports = await open(true);
    return await fillStore({
      ports,
      random,
      older,
      olderLogs,
      readBytes: (key) => readFileSync(join(root, key)),
      writeBytes: (key, bytes) => replaceFile(join(root, key), bytes),
      copyLog: () => copyLog(root),
      counts: () => ({ lines: 0, words: 0 }),
    });
  })();
  const soundLog = soundContent(join(root, "log.sqlite")) ?? "";
  await using ports = await open();
  const baseline = await verifyStore(ports, { deep: true });
  return {
    folder,
    root,
    pathOf: (key) => join(root, key),
    logName: "log.sqlite",
    ...made,
    older,
    olderLogs,
    soundLog,
    baseline,
    open: () => open(),
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export const newWorldFolder = (): string =>
  mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "silt-damage-"));

/** All that happens to the store before it is damaged. */
export async function fillStore(making: Making): Promise<Pick<DamageWorld, "lines" | "words">> {
  const lines = await startCollection(making, "lines");
  const words = await startCollection(making, "words");
  making.counts = () => ({ lines: lines.count(), words: words.count() });
  await setStrategy(making, "lines", "single");
  await lines.write();
  await lines.compact();
  await lines.write();
  await lines.compact();
  // From here on each version has one more layer.
  await setStrategy(making, "lines", "tiered");
  await lines.writePoison();
  await lines.compact();
  await lines.restorePoison();
  await lines.write({ retryOf: lines.count() });
  await lines.compact();
  await words.write();
  await words.compact();
  await words.planNothing();
  await lines.pinCurrent();
  await lines.planNothing();
  await making.ports.log.abandonRun(
    lines.shard,
    uuidV7(making.ports.clock.nowMs(), making.random.bytes(16)),
  );
  await registerTogether(making, [lines, words]);
  await noteOlder(making, OLDER_LOG);
  await lines.write();
  await making.ports.hints.send(lines.shard);
  return { lines: await lines.done(), words: await words.done() };
}

interface CollectionMaker {
  readonly shard: ShardRef;
  count(): number;
  content(): SegmentContent;
  publish(
    content: SegmentContent,
    options?: { retryOf?: number; source?: string },
  ): Promise<RunDraft>;
  took(draft: RunDraft, content: SegmentContent): void;
  write(options?: { readonly retryOf?: number }): Promise<void>;
  writePoison(): Promise<void>;
  restorePoison(): Promise<void>;
  compact(): Promise<void>;
  /** Two owners, one after the other, so that the item has an older state. */
  pinCurrent(): Promise<void>;
  /** A plan of the collector, and another one of the other collection. */
  planNothing(): Promise<void>;
  done(): Promise<DamagedCollection>;
}

async function startCollection(making: Making, name: string): Promise<CollectionMaker> {
  const { ports, random } = making;
  const { identity } = await ensureCollection(ports, name, {
    dimension: SHAPE.dimension,
    shards: 1,
  });
  const [shard] = shardRefs(identity) as [ShardRef];
  const contents: SegmentContent[] = [];
  const runs: RunDraft[] = [];
  const excluded: number[] = [];
  let poisoned: { readonly key: string; readonly bytes: Uint8Array } | undefined;
  const maker: CollectionMaker = {
    shard,
    count: () => runs.length,
    content: () => fullContent(random),
    async publish(content, options = {}) {
      await using workbench = await ports.engine.openWorkbench();
      return await publishDelta(
        ports,
        workbench,
        { ...shard, vectors: identity.vectors },
        content,
        options,
      );
    },
    took(draft, content) {
      runs.push(draft);
      contents.push(stampSequence(content, runs.length));
    },
    async write(options = {}) {
      const content = maker.content();
      const draft = await maker.publish(content, options);
      const registered = await registerRuns(ports, [draft]);
      if (registered.outcome !== "registered") throw new Error(registered.outcome);
      maker.took(draft, content);
    },
    async writePoison() {
      await maker.write();
      const key = runs.at(-1)?.delta.key as string;
      poisoned = { key, bytes: await making.readBytes(key) };
      await making.writeBytes(key, poisoned.bytes.subarray(0, 1000));
      excluded.push(runs.length);
    },
    async restorePoison() {
      if (poisoned !== undefined) await making.writeBytes(poisoned.key, poisoned.bytes);
    },
    async compact() {
      await noteOlder(making, pointerKey(shard));
      const policy = await updatePolicy(ports, name, (before) => before);
      await compactShard(ports, identity, policy, shard, { holder: "fixture" });
    },
    async pinCurrent() {
      const { pointer } = await readPointer(ports.objects, shard);
      for (const owner of ["backup", "audit"]) {
        await noteOlder(making, OLDER_LOG);
        const pin = { owner, reason: "kept", pinnedAt: pointer.committedAt, baseVersion: null };
        await ports.log.pinVersion(shard, pointer, pin);
      }
    },
    async planNothing() {
      const old = {
        key: `${shardPrefix(shard)}snapshots/old`,
        bytes: 1,
        why: "unreferenced",
      } as const;
      await storePlan(ports, shard, [old], { keys: [], sinceMs: new Map() });
    },
    async done() {
      const { pointer } = await readBack(ports, shard);
      return { identity, shard, contents, excluded, runs, ...pointer };
    },
  };
  return maker;
}

async function readBack(ports: Ports, shard: ShardRef) {
  const applied = await ports.log.readApplied(shard);
  const { version = 0, appliedThrough = 0 } = applied ?? {};
  return { pointer: { version, appliedThrough } };
}

/** Puts for sure, and whatever else chance adds. */
function fullContent(random: SeededRandom): SegmentContent {
  for (;;) {
    const content = randomContent(random, SHAPE);
    const puts = [...content.rows.values()].filter(({ operation }) => operation === "put");
    if (puts.length >= 2 && content.rows.size > puts.length) return content;
  }
}

/** One transaction over two collections, with the guards of two sources. */
async function registerTogether(making: Making, makers: readonly CollectionMaker[]): Promise<void> {
  const { ports } = making;
  const written: { maker: CollectionMaker; draft: RunDraft; content: SegmentContent }[] = [];
  for (const maker of makers) {
    const content = maker.content();
    const draft = await maker.publish(content, { source: "file:///pictures/a.png" });
    written.push({ maker, draft, content });
  }
  const registered = await registerRuns(
    ports,
    written.map(({ draft }) => draft),
    {
      guards: (runs) =>
        ["a", "b", "c"].map((name) => {
          const standing = runs.map(({ collection, shard, runId, sequence }) => {
            const maker = makers.find((each) => each.shard.collection === collection);
            return { collection, storeId: maker?.shard.storeId as string, shard, runId, sequence };
          });
          return { expectedRev: 0, next: guardOf(name, standing) };
        }),
    },
  );
  if (registered.outcome !== "registered") throw new Error(registered.outcome);
  for (const { maker, draft, content } of written) maker.took(draft, content);
  await noteOlder(making, OLDER_LOG);
  // A second revision, so that there is an older one.
  const before = await ports.log.readGuard({ family: FAMILY, uri: "file:///pictures/a.png" });
  if (before === undefined) throw new Error("the guard is there");
  const next = { ...before, rev: 2, sourceDigest: "1".repeat(64) };
  await ports.log.commit({ appends: [], guards: [{ expectedRev: 1, next }] });
}

function guardOf(name: string, runs: Guard["runs"]): Guard {
  return {
    format: 1,
    requires: [],
    uri: `file:///pictures/${name}.png`,
    family: FAMILY,
    rev: 1,
    sourceDigest: "0".repeat(64),
    pipelineId: "images/1",
    runs,
    failure: null,
    root: null,
  };
}

async function setStrategy(
  making: Making,
  name: string,
  strategy: "single" | "tiered",
): Promise<Policy> {
  await noteOlder(making, policyKey(name));
  return updatePolicy(making.ports, name, (before) => ({
    ...before,
    compaction: {
      ...before.compaction,
      strategy,
      smallBytes: 0,
      fanOut: 64,
      rewriteRatio: 1_000,
      tombstoneRatio: 1_000,
    },
  }));
}

/** Keeps what an object, or the log, says now, before it is overwritten. */
async function noteOlder(making: Making, key: string): Promise<void> {
  const { older, olderLogs, counts } = making;
  const list = older.get(key) ?? [];
  older.set(key, list);
  if (key === OLDER_LOG) olderLogs.push(counts());
  list.push(await (key === OLDER_LOG ? making.copyLog() : making.readBytes(key)));
}

/** By SQLite's own means. */
function copyLog(root: string): Uint8Array {
  const from = join(root, "log.sqlite");
  const copy = join(root, "..", "log-copy");
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy);
  for (const suffix of ["", "-wal"]) {
    if (existsSync(from + suffix)) cpSync(from + suffix, join(copy, `log.sqlite${suffix}`));
  }
  return checkpointed(join(copy, "log.sqlite"));
}

/** Writes a file under its name without touching others that are linked to it. */
export function replaceFile(path: string, bytes: Uint8Array): void {
  rmSync(path, { recursive: true, force: true });
  writeFileSync(path, bytes);
}
