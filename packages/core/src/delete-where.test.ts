import { applyRun, createFoldEngine, createMemoryPorts, type ReferenceModel } from "@silt/testkit";
import { expect, it } from "vitest";
import { ensureCollection, shardRefs } from "./collection.ts";
import { compactShard } from "./compact-shard.ts";
import { deleteWhere } from "./delete-where.ts";
import type { SnapshotManifest } from "./formats.ts";
import type { Ports, ShardRef } from "./ports.ts";
import { rollbackShard } from "./rollback-shard.ts";
import type { Row } from "./row.ts";
import { ShardReader } from "./shard-reader.ts";
import { assert } from "./silt-error.ts";
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
