/** One collection of one shard on memory ports and the real segment engine, and what must always hold. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type CollectionIdentity,
  type CompactionPolicy,
  type CompactReport,
  compactShard,
  composeWithAccount,
  EMPTY_CONTENT,
  ensureCollection,
  MANIFEST_BYTES_MAX,
  type ObjectRef,
  type ObjectStore,
  type Policy,
  type Ports,
  parseManifest,
  publishDelta,
  type Run,
  type RunLog,
  readManifest,
  readPointer,
  registerRuns,
  type SegmentContent,
  type ShardRef,
  type SnapshotManifest,
  sha256Of,
  shardRefs,
  stampSequence,
  updatePolicy,
} from "@silt/core";
import {
  createMemoryPorts,
  createSeededRandom,
  createVirtualClock,
  liveRecords,
  type MemoryObjectStore,
  modelOf,
  silentLogger,
  type VirtualClock,
} from "@silt/testkit";
import { afterAll, expect, vi } from "vitest";
import { createSegmentEngine } from "../../packages/segment/src/index.ts";
import { readContent, temporaryFolder } from "../../packages/segment/src/merge-trial.fixture.ts";

export interface World {
  readonly ports: Ports & { readonly objects: MemoryObjectStore };
  readonly clock: VirtualClock;
  readonly identity: CollectionIdentity;
  readonly shard: ShardRef;
  policy: Policy;
  /** Contents of all runs that were registered, stamped, in order. */
  readonly log: SegmentContent[];
}

export type WorldPolicy = Partial<CompactionPolicy>;

/** Many tiers although the rows are few: nothing is merged only because it is small. */
export const TIERS: WorldPolicy = {
  strategy: "tiered",
  smallBytes: 0,
  fanOut: 4,
  rewriteRatio: 100,
  tombstoneRatio: 100,
};

/** The machine may be busy; no claim here is about time. */
vi.setConfig({ testTimeout: 60_000 });

/** One worker for all tests of a file; starting it takes longer than most of them. */
const folder = temporaryFolder();
const engine = createSegmentEngine({ tempRoot: () => folder.path, logger: silentLogger });
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

export async function openWorld(compaction: WorldPolicy = {}, seed = 1): Promise<World> {
  const clock = createVirtualClock({ sleeps: "skip" });
  const ports = createMemoryPorts({ engine, clock, random: createSeededRandom(seed) });
  const { identity } = await ensureCollection(ports, "lines", { dimension: 2 });
  const policy = await updatePolicy(ports, "lines", (policy) => ({
    ...policy,
    compaction: { ...policy.compaction, ...compaction },
  }));
  const [shard] = shardRefs(identity) as [ShardRef];
  return {
    ports,
    clock,
    identity,
    shard,
    policy,
    log: [],
  };
}

/** Publishes and registers one run; gives its entry of the log. */
export async function write(
  world: World,
  content: SegmentContent,
  options: { readonly retryOf?: number } = {},
): Promise<Run> {
  const { ports, identity, shard, log } = world;
  await using workbench = await ports.engine.openWorkbench();
  const owner = { ...shard, vectors: identity.vectors };
  const draft = await publishDelta(ports, workbench, owner, stampSequence(content, 0), options);
  const registered = await registerRuns(ports, [draft]);
  if (registered.outcome !== "registered") throw new Error(registered.outcome);
  const sequence = registered.runs[0]?.sequence as number;
  log[sequence - 1] = stampSequence(content, sequence);
  const [run] = await ports.log.readRuns(shard, { after: sequence - 1, limit: 1 });
  return run as Run;
}

export function compact(
  world: World,
  options: {
    readonly ports?: Ports;
    readonly holder?: string;
    readonly signal?: AbortSignal;
  } = {},
): Promise<CompactReport> {
  const { ports = world.ports, holder = "a", signal } = options;
  return compactShard(ports, world.identity, world.policy, world.shard, {
    holder,
    ...(signal && { signal }),
  });
}

/** The same ports with some methods of the object store or the log replaced. */
export function portsWith(
  world: World,
  changed: { readonly objects?: Partial<ObjectStore>; readonly log?: Partial<RunLog> } & Partial<
    Omit<Ports, "objects" | "log">
  >,
): Ports {
  const { objects, log, ...rest } = changed;
  return {
    ...world.ports,
    ...rest,
    objects: { ...world.ports.objects, ...objects },
    log: { ...world.ports.log, ...log },
  };
}

export const pointerOf = async ({ ports, shard }: World) =>
  (await readPointer(ports.objects, shard)).pointer;
export const manifestOf = async (world: World): Promise<SnapshotManifest> =>
  readManifest(world.ports.objects, await pointerOf(world));

/** Everything that a failed or idle attempt must leave as it was. */
export async function traceOf({ ports, shard }: World) {
  const objects = [...ports.objects.stored].map(([key, { etag }]) => `${key} ${etag}`);
  const { pointer } = await readPointer(ports.objects, shard);
  return {
    pointer,
    head: await ports.log.readHead(shard),
    applied: await ports.log.readApplied(shard),
    objects: objects.filter((key) => !key.includes("/snapshots/")),
  };
}

function objectBytes({ ports }: World, ref: ObjectRef): Uint8Array {
  const stored = ports.objects.stored.get(ref.key);
  expect(stored, ref.key).toBeDefined();
  const bytes = stored?.bytes ?? new Uint8Array();
  expect(bytes.byteLength).toBe(ref.bytes);
  expect(sha256Of(bytes)).toBe(ref.sha256);
  return bytes;
}

/** What temporary files are left behind. */
export const leftovers = (): readonly string[] =>
  readdirSync(folder.path).filter((name) => name.startsWith("work-"));

/** The fold of all segments of the current version. */
export async function contentOf(world: World): Promise<SegmentContent> {
  const manifest = await manifestOf(world);
  let content = EMPTY_CONTENT;
  for (const { object } of manifest.segments) {
    const path = join(folder.path, "look.sqlite");
    writeFileSync(path, objectBytes(world, object));
    content = composeWithAccount(content, readContent(path)).content;
  }
  return content;
}

/** The runs that a version must show: those applied and not excluded. */
function visibleRuns(world: World, manifest: SnapshotManifest): readonly SegmentContent[] {
  return world.log
    .slice(0, manifest.appliedThrough)
    .filter(
      (_, index) => !manifest.excluded.some(({ from, to }) => from <= index + 1 && index + 1 <= to),
    );
}

/** I1, I2 and I4 of the current version and all its ancestors. */
export async function expectSound(world: World): Promise<void> {
  const pointer = await pointerOf(world);
  const manifest = await manifestOf(world);
  expect(liveRecords(await contentOf(world))).toEqual(modelOf(visibleRuns(world, manifest)));
  expect(manifest.stats.segments).toBe(manifest.segments.length);
  let last = 0;
  for (const segment of manifest.segments) {
    expect(segment.firstSequence).toBeGreaterThan(last);
    last = segment.lastSequence;
  }
  expect(last).toBeLessThanOrEqual(pointer.appliedThrough);
  await expectChain(world, manifest);
}

async function expectChain(world: World, newest: SnapshotManifest): Promise<void> {
  const ancestors = (await pointerOf(world)).ancestors;
  let child = newest;
  while (child.parent !== null) {
    const { manifest: ref, version, commitId } = child.parent;
    const bytes = objectBytes(world, ref);
    expect(bytes.byteLength).toBeLessThan(MANIFEST_BYTES_MAX);
    expect(child.parentManifestSha256).toBe(sha256Of(bytes));
    const parent = parseManifest(bytes, ref.key);
    expect(parent).toMatchObject({ version, commitId });
    expect(child.version).toBe(parent.version + 1);
    expect(child.epoch).toBeGreaterThan(parent.epoch);
    expect(child.appliedThrough).toBeGreaterThanOrEqual(parent.appliedThrough);
    expect(child.excluded.length).toBeGreaterThanOrEqual(parent.excluded.length);
    expect(ancestors).toContainEqual({ version, commitId });
    child = parent;
  }
  expect(child).toMatchObject({ version: 0, epoch: 0, appliedThrough: 0, segments: [] });
}

/** A promise and the function that fulfils it. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
