import { applyRun, createFoldEngine, createMemoryPorts, type ReferenceModel } from "@silt/testkit";
import { describe, expect, it } from "vitest";
import { ensureCollection, shardRefs } from "./collection.ts";
import { compactShard } from "./compact-shard.ts";
import { deleteWhere } from "./delete-where.ts";
import type { CollectionIdentity, SnapshotManifest } from "./formats.ts";
import type { LogTransaction, Ports, RunLog, ShardRef } from "./ports.ts";
import { rollbackShard } from "./rollback-shard.ts";
import type { Row } from "./row.ts";
import { ShardReader } from "./shard-reader.ts";
import { assert, SiltError } from "./silt-error.ts";
import { writeDeltas } from "./write-deltas.ts";

const engine = createFoldEngine();

const put = (id: string): Row => ({
  operation: "put",
  id,
  parent: null,
  embedding: new Uint8Array(4),
  document: "old",
  metadata: {},
  sequence: 0,
});

/** Version 1 holds x and y, version 2 has deleted x. */
async function twoVersions() {
  const ports = createMemoryPorts({ engine });
  const { identity, policy } = await ensureCollection(ports, "lines", { dimension: 1 });
  const [shard] = shardRefs(identity);
  assert(shard !== undefined, "a collection has a shard");
  const write = async (...rows: Row[]) => {
    const content = { rows: new Map(rows.map((row) => [row.id, row])), replaced: new Map() };
    await writeDeltas(ports, identity, [{ shard: shard.shard, content, bytes: 1 }]);
    await compactShard(ports, identity, policy, shard, { holder: "c" });
  };
  await write(put("x"), put("y"));
  await write({ operation: "delete", id: "x", sequence: 0 });
  return { ports, identity, policy, shard };
}

function readerOf(ports: Ports, shard: ShardRef, vectors: SnapshotManifest["vectors"]) {
  const open = async (manifest: SnapshotManifest) => {
    const model: ReferenceModel = new Map();
    for (const { object } of manifest.segments) {
      const found = await ports.objects.get(object.key, { bytesMax: 1e6 });
      if (found.outcome !== "found") return undefined;
      applyRun(model, await engine.contentOf(found.bytes));
    }
    return { manifest, model, retain: () => () => {} };
  };
  return new ShardReader(ports, { ...shard, vectors }, { open });
}

it("I2 deleteWhere() decides again when an exclusion came between its pointer and its HEAD", async () => {
  const { ports, identity, policy, shard } = await twoVersions();
  let rolledBack = false;
  const log = {
    ...ports.log,
    // The whole rollback happens after the reader's pointer, and before its HEAD.
    readHead: async (of: ShardRef) => {
      if (!rolledBack) {
        rolledBack = true;
        await rollbackShard(ports, identity, policy, shard, { holder: "o", toVersion: 1 });
      }
      return ports.log.readHead(of);
    },
  };
  const reader = readerOf({ ...ports, log }, shard, identity.vectors);
  const seen: string[][] = [];
  const [run] = await deleteWhere(ports, identity, {
    views: async () => [await reader.view({ fresh: true })],
    matching: ({ snapshot, overlay }) => {
      const model = new Map(snapshot.model);
      if (overlay !== undefined) applyRun(model, overlay);
      seen.push([...model.keys()].sort());
      return model.keys();
    },
  });
  expect(seen.at(-1)).toEqual(["x", "y"]);
  expect(run?.records).toBe(2);
});

describe("deleteWhere() over more shards than a transaction takes", () => {
  const SHARDS = 64;
  /** What DynamoDB takes; HEAD, run and run id are three. */
  const ITEMS_MAX = 100;
  const itemsOf = ({ appends }: LogTransaction) =>
    appends.reduce((sum, { runs }) => sum + 1 + 2 * runs.length, 0);

  /** A record in each shard; `commit` stands before the log's, after a check of the size. */
  async function manyShards(commit?: (transaction: LogTransaction, log: RunLog) => Promise<void>) {
    const ports = createMemoryPorts({ engine });
    const { identity } = await ensureCollection(ports, "lines", { dimension: 1, shards: SHARDS });
    const idOf = (shard: string) => `in ${shard}`;
    const write = async (shards: readonly ShardRef[], idIn = idOf) => {
      const contents = shards.map(({ shard }) => {
        const row = put(idIn(shard));
        const content = { rows: new Map([[row.id, row]]), replaced: new Map() };
        return { shard, content, bytes: 1 };
      });
      await writeDeltas(ports, identity, contents);
    };
    await write(shardRefs(identity));
    const commits: LogTransaction[] = [];
    const log: RunLog = {
      ...ports.log,
      async commit(transaction) {
        assert(
          itemsOf(transaction) <= ITEMS_MAX,
          `a transaction has ${itemsOf(transaction)} items`,
        );
        await commit?.(transaction, ports.log);
        const answer = await ports.log.commit(transaction);
        if (answer.outcome === "committed") commits.push(transaction);
        return answer;
      },
    };
    return { ports: { ...ports, log }, identity, write, commits };
  }

  function deleteAll(ports: Ports, identity: CollectionIdentity) {
    const shards = shardRefs(identity);
    const readers = shards.map((shard) => readerOf(ports, shard, identity.vectors));
    return deleteWhere(ports, identity, {
      views: () => Promise.all(readers.map((reader) => reader.view({ fresh: true }))),
      matching: ({ snapshot, overlay }) => {
        const model = new Map(snapshot.model);
        if (overlay !== undefined) applyRun(model, overlay);
        return model.keys();
      },
    });
  }

  it("takes several, each on exactly the HEADs of its own", async () => {
    const { ports, identity, commits } = await manyShards();
    const runs = await deleteAll(ports, identity);
    expect(runs.map(({ shard }) => shard)).toEqual(shardRefs(identity).map(({ shard }) => shard));
    expect(runs.every(({ sequence, records }) => sequence === 2 && records === 1)).toBe(true);
    expect(commits.map(({ appends }) => appends.length)).toEqual([32, 32]);
    expect(await deleteAll(ports, identity)).toEqual([]);
  });

  it("decides those alone again whose HEADs have moved", async () => {
    let moved = false;
    const world = await manyShards(async ({ appends }) => {
      const isLast = appends.some(({ shard }) => shard.shard === `${SHARDS - 1}-of-${SHARDS}`);
      if (!isLast || moved) return;
      moved = true;
      await world.write(shardRefs(world.identity).slice(-1), () => "late");
    });
    const runs = await deleteAll(world.ports, world.identity);
    expect(runs.map(({ records }) => records)).toEqual([...Array(SHARDS - 1).fill(1), 2]);
    expect(world.commits.map(({ appends }) => appends.length)).toEqual([32, 32]);
  });

  it("what is registered stands when the rest fails, and the error names it", async () => {
    let commits = 0;
    const { ports, identity } = await manyShards(async () => {
      commits += 1;
      if (commits > 1) throw new SiltError("invalid", "Cannot commit: not today");
    });
    const failed = await deleteAll(ports, identity).catch((error: SiltError) => error);
    expect(failed).toMatchObject({
      kind: "invalid",
      message: expect.stringContaining("32 records in 32 runs are durable"),
    });
    expect((failed as SiltError).details?.runs).toHaveLength(32);
    commits = -1;
    expect(await deleteAll(ports, identity)).toHaveLength(32);
  });
});
