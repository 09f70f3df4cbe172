/** A small real store with some history, and copies of it to damage. */
import {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import {
  type CollectionIdentity,
  compactShard,
  ensureCollection,
  type Guard,
  type Policy,
  publishDelta,
  type RunDraft,
  registerRuns,
  type SegmentContent,
  type ShardRef,
  shardOf,
  shardOfKey,
  shardRefs,
  updatePolicy,
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
import Database from "better-sqlite3";
import { type LocalPorts, openLocalPorts } from "../../packages/local/src/index.ts";
import { prepareDigests } from "../../packages/local/src/row-digests.ts";
import { createSegmentEngine } from "../../packages/segment/src/index.ts";

export const SHAPE = { ids: 30, parents: 4, operationsMax: 12, dimension: 4 };

export interface StoreFolder extends AsyncDisposable {
  /** The store that is never damaged. */
  readonly root: string;
  open(root?: string): Promise<LocalPorts>;
  /** A fresh copy; the one before is gone. */
  copy(): string;
  /** Temporary files of the segment engine. */
  leftovers(): readonly string[];
}

/** A folder for stores, with one segment engine for all of them. */
export function openStoreFolder(seed = 1): StoreFolder {
  const folder = mkdtempSync(join(tmpdir(), "silt-damage-"));
  const engine = createSegmentEngine({ tempRoot: folder, logger: silentLogger });
  const random = createSeededRandom(seed);
  const clock = createVirtualClock({ sleeps: "skip" });
  const root = join(folder, "store");
  let copies = 0;
  return {
    root,
    open: (at = root) =>
      openLocalPorts(at, {
        create: at === root,
        engine,
        logger: silentLogger,
        metrics: silentMetrics,
        clock,
        random,
      }),
    copy() {
      rmSync(join(folder, `copy-${copies}`), { recursive: true, force: true });
      copies += 1;
      const to = join(folder, `copy-${copies}`);
      cpSync(root, to, { recursive: true });
      return to;
    },
    leftovers: () => readdirSync(folder).filter((name) => name.startsWith("work-")),
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Publishes and registers one run. */
export async function write(
  ports: LocalPorts,
  { vectors }: CollectionIdentity,
  shard: ShardRef,
  content: SegmentContent,
  options: { readonly retryOf?: number } = {},
): Promise<RunDraft> {
  await using workbench = await ports.engine.openWorkbench();
  const draft = await publishDelta(ports, workbench, { ...shard, vectors }, content, options);
  const registered = await registerRuns(ports, [draft]);
  if (registered.outcome !== "registered") throw new Error(registered.outcome);
  return draft;
}

/** What of a content may lie in this shard. */
function placed(content: SegmentContent, shard: ShardRef, shards: number): SegmentContent {
  const rows = [...content.rows].flatMap(([id, row]) => {
    const lone = row.operation === "put" && shards > 1 ? { ...row, parent: null } : row;
    return shardOf(id, shards) === shard.shard ? [[id, lone] as const] : [];
  });
  const replaced = [...content.replaced].filter(
    ([parent]) => shardOfKey(parent, shards) === shard.shard,
  );
  return { rows: new Map(rows), replaced: new Map(replaced) };
}

function setPolicy(
  ports: LocalPorts,
  name: string,
  strategy: "single" | "tiered",
): Promise<Policy> {
  return updatePolicy(ports, name, (before) => ({
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

async function fill(
  ports: LocalPorts,
  random: SeededRandom,
  name: string,
  settings: { readonly dimension: number; readonly shards: number },
  /** Runs before each compaction; the last ones stay pending. */
  batches: readonly number[],
): Promise<void> {
  const { identity } = await ensureCollection(ports, name, settings);
  // The first two versions are one segment each, later ones have one more each.
  const policies = [await setPolicy(ports, name, "single"), await setPolicy(ports, name, "tiered")];
  for (const shard of shardRefs(identity)) {
    for (const [index, runs] of batches.entries()) {
      for (let left = runs; left > 0; left--) {
        const content = randomContent(random, SHAPE);
        await write(ports, identity, shard, placed(content, shard, identity.shards));
      }
      if (index === batches.length - 1) break;
      const policy = policies[index < 2 ? 0 : 1] as Policy;
      await compactShard(ports, identity, policy, shard, { holder: "fixture" });
    }
  }
}

/** Two collections with versions, several segments, applied and pending runs, and a guard. */
export async function buildStore(folder: StoreFolder, seed = 7): Promise<void> {
  const random = createSeededRandom(seed);
  await using ports = await folder.open();
  await fill(ports, random, "lines", { dimension: 4, shards: 1 }, [2, 1, 1, 1, 1]);
  await fill(ports, random, "words", { dimension: 4, shards: 2 }, [1, 1]);
  await ports.log.commit({ appends: [], guards: [{ expectedRev: 0, next: GUARD }] });
}

export const GUARD: Guard = {
  format: 1,
  requires: [],
  uri: "file:///pictures/a.png",
  family: "images",
  rev: 1,
  sourceDigest: "0".repeat(64),
  pipelineId: "images/1",
  runs: [],
  failure: null,
  root: null,
};

export async function verifyAt(
  folder: StoreFolder,
  root: string,
  deep = false,
): Promise<VerifyReport> {
  await using ports = await folder.open(root);
  return await verifyStore(ports, { deep });
}

/** Keys of all objects of a store, ascending. */
export function objectKeys(root: string): readonly string[] {
  return readdirSync(join(root, "collections"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

/** Ways to damage a file in place. `at` is a share of its length. */
export const flipBit = (path: string, at: number, bit = 0): void => {
  const bytes = readFileSync(path);
  const index = Math.min(bytes.length - 1, Math.floor(bytes.length * at));
  bytes[index] = (bytes[index] as number) ^ (1 << bit);
  overwrite(path, bytes);
};

export function overwrite(path: string, bytes: Uint8Array): void {
  rmSync(path, { force: true });
  writeFileSync(path, bytes);
}

export function truncate(path: string, by: number): void {
  chmodSync(path, 0o644);
  truncateSync(path, Math.max(0, statSync(path).size - by));
}

export function grow(path: string): void {
  chmodSync(path, 0o644);
  appendFileSync(path, "x");
}

/** Edits the log of a closed store as no Silt process would. */
export function editLog(root: string, ...statements: readonly string[]): void {
  const db = new Database(join(root, "log.sqlite"));
  // Digests follow the edits: what is left is what a bug would leave, not a disk.
  prepareDigests(db);
  try {
    for (const statement of statements) db.exec(statement);
  } finally {
    db.close();
  }
}
