/** The configurations that the gate explores: the heart of the protocol, and what was found dangerous beside it. */
import {
  type CompactionPolicy,
  compactShard,
  ensureCollection,
  type PutRow,
  type Row,
  readCurrent,
  type SegmentContent,
  shardRefs,
  updatePolicy,
  writeDeltas,
} from "@silt/core";
import { demand } from "../simulator/violation.ts";
import type { Checker } from "./checker.ts";
import type { Bench, Configuration, Prepared } from "./configuration.ts";
import { collector, compactor, deleter, pinner, rollback, writer } from "./programs.ts";
import type { World } from "./world.ts";

const NAME = "explored";

function put(id: string, document: string, parent: string | null = null): PutRow {
  const embedding = new Uint8Array(new Float32Array([1]).buffer);
  return { operation: "put", id, parent, embedding, document, metadata: { by: id }, sequence: 0 };
}

const patch = (id: string, document: string): Row => ({
  operation: "patch",
  id,
  document,
  metadata: { by: null, patched: document },
  sequence: 0,
});

const remove = (id: string): Row => ({ operation: "delete", id, sequence: 0 });

const content = (rows: readonly Row[], replaced: readonly string[] = []): SegmentContent => ({
  rows: new Map(rows.map((row) => [row.id, row])),
  replaced: new Map(replaced.map((parent) => [parent, 0])),
});

/** Segments stay under the versions that made them, so that versions share them. */
const TIERS: Partial<CompactionPolicy> = {
  strategy: "tiered",
  smallBytes: 0,
  fanOut: 64,
  rewriteRatio: 1e9,
  tombstoneRatio: 1e9,
};

/** An empty collection that keeps nothing for a time: no grace, the current version alone. */
async function create({ ports }: Bench, compaction: Partial<CompactionPolicy>): Promise<Prepared> {
  const { identity } = await ensureCollection(ports, NAME, { dimension: 1 });
  const policy = await updatePolicy(ports, NAME, (old) => ({
    ...old,
    compaction: { ...old.compaction, ...compaction },
    retention: { versionsKept: 1, versionsKeptMs: 0, deltasKeptMs: 0, graceMs: 0 },
  }));
  const [shard] = shardRefs(identity);
  if (shard === undefined) throw new Error("A collection has a shard");
  return { identity, policy, shard };
}

async function write({ ports }: Bench, { identity, shard }: Prepared, of: SegmentContent) {
  await writeDeltas(ports, identity, [{ shard: shard.shard, content: of, bytes: 1 }]);
}

async function compact({ ports }: Bench, { identity, policy, shard }: Prepared) {
  await compactShard(ports, identity, policy, shard, { holder: "setup" });
}

const OLD = content([put("x", "old"), put("y", "old"), put("z", "new")]);
const FIRST = content([put("a", "first", "p"), put("b", "first", "p"), put("x", "old")]);
const SECOND = content([put("b", "second", "p"), remove("x")]);

const ONE = content([put("a", "one", "p"), patch("b", "one")]);
const TWO = content([put("c", "two", "p")], ["p"]);

/** Version 1 holds a run; a second one is pending. */
async function oneAndOne(bench: Bench): Promise<Prepared> {
  const prepared = await create(bench, { strategy: "single" });
  await write(bench, prepared, FIRST);
  await compact(bench, prepared);
  await write(bench, prepared, SECOND);
  return prepared;
}

/** Version 2 of two segments, one of them version 1's own; nothing is pending. */
async function twoVersions(bench: Bench): Promise<Prepared> {
  const prepared = await create(bench, TIERS);
  await write(bench, prepared, FIRST);
  await compact(bench, prepared);
  await write(bench, prepared, SECOND);
  await compact(bench, prepared);
  return prepared;
}

/** Versions of one segment each: an old one's file is needed by nobody but those who go back to it. */
async function apart(bench: Bench, contents: readonly SegmentContent[]): Promise<Prepared> {
  const prepared = await create(bench, { strategy: "single" });
  for (const part of contents) {
    await write(bench, prepared, part);
    await compact(bench, prepared);
  }
  return prepared;
}

/** What a delete by filter removes is what matches at the place in the log that it gets (rule 7). */
function decidedThere(checker: Checker, before: World, after: World): void {
  const run = checker.runsIn(after).at(-1);
  const rows = run && checker.contentOf(run)?.rows;
  if (run === undefined || run.source !== null || !rows) return;
  const excluded = checker.chainIn(before).at(-1)?.manifest.excluded ?? [];
  const model = checker.modelOf(before, run.sequence - 1, excluded);
  const matching = [...model].flatMap(([id, { document }]) => (document === "old" ? [id] : []));
  const deleted = [...rows.keys()];
  demand(
    matching.sort().join() === deleted.sort().join(),
    "I2",
    `a delete by filter removes ${deleted.join()}, but ${matching.join()} match where it is registered`,
  );
}

export const CONFIGURATIONS: readonly Configuration[] = [
  {
    name: "writers-compactors",
    about: "2 writers, 2 compactors; one run is pending",
    excludes: false,
    prepare: oneAndOne,
    actors: (prepared) => [
      writer(prepared, "writer-1", ONE),
      writer(prepared, "writer-2", TWO),
      compactor(prepared, "compactor-1"),
      compactor(prepared, "compactor-2"),
    ],
  },
  {
    name: "heart",
    about: "2 writers, 2 compactors, 1 collector; one run is pending",
    excludes: false,
    prepare: oneAndOne,
    actors: (prepared) => [
      writer(prepared, "writer-1", ONE),
      writer(prepared, "writer-2", TWO),
      compactor(prepared, "compactor-1"),
      compactor(prepared, "compactor-2"),
      collector(prepared, "collector"),
    ],
  },
  {
    name: "three-compactors",
    about:
      "3 compactors that take a run each: one may stand on another's version before that one asks",
    excludes: false,
    prepare: async (bench) => {
      const prepared = await create(bench, { ...TIERS, runsMax: 1 });
      for (const part of [FIRST, SECOND, ONE]) await write(bench, prepared, part);
      return prepared;
    },
    actors: (prepared) => [
      compactor(prepared, "compactor-1"),
      compactor(prepared, "compactor-2"),
      compactor(prepared, "compactor-3"),
    ],
  },
  {
    name: "rollback-collector",
    about:
      "an operator rolls back to a version that the collector is about to give up; 1 compactor",
    excludes: true,
    prepare: (bench) => apart(bench, [FIRST, SECOND]),
    actors: (prepared) => [
      rollback(prepared, "operator", 1),
      collector(prepared, "collector"),
      compactor(prepared, "compactor-1"),
    ],
  },
  {
    name: "rollback-writer",
    about: "an operator rolls back while a writer writes and a compactor compacts",
    excludes: true,
    prepare: twoVersions,
    actors: (prepared) => [
      rollback(prepared, "operator", 1),
      writer(prepared, "writer-1", ONE),
      compactor(prepared, "compactor-1"),
    ],
  },
  {
    name: "pin-collector",
    about: "a version is pinned while 2 collectors give it up",
    excludes: false,
    prepare: (bench) => apart(bench, [FIRST, SECOND, ONE]),
    actors: (prepared) => [
      pinner(prepared, "operator", 1),
      collector(prepared, "collector-1"),
      collector(prepared, "collector-2"),
    ],
  },
  {
    name: "rollback-delete",
    about: "a rollback brings a record back while a delete by filter decides; 1 compactor",
    excludes: true,
    prepare: (bench) => apart(bench, [OLD, content([remove("x")])]),
    onCommit: decidedThere,
    actors: (prepared) => [
      rollback(prepared, "operator", 1),
      deleter(prepared, "deleter", "old"),
      compactor(prepared, "compactor-1"),
    ],
  },
  {
    name: "poison-delete",
    about: "a damaged run is excluded by 2 compactors while a delete by filter decides",
    excludes: true,
    prepare: async (bench) => {
      const prepared = await create(bench, { strategy: "single" });
      await write(bench, prepared, OLD);
      await compact(bench, prepared);
      await write(bench, prepared, content([remove("x")]));
      const { pointer } = await readCurrent(bench.ports.objects, prepared.shard);
      const page = { after: pointer.appliedThrough, limit: 1 };
      const [run] = await bench.ports.log.readRuns(prepared.shard, page);
      if (run !== undefined) bench.damage(run.delta.key);
      return prepared;
    },
    onCommit: decidedThere,
    actors: (prepared) => [
      compactor(prepared, "compactor-1"),
      compactor(prepared, "compactor-2"),
      deleter(prepared, "deleter", "old"),
    ],
  },
];
