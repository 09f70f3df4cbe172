import { createFoldEngine, createMemoryPorts } from "@silt/testkit";
import { beforeAll, describe, expect, it } from "vitest";
import { ensureCollection, shardRefs } from "./collection.ts";
import { compactShard } from "./compact-shard.ts";
import { createDeltaBuffer } from "./delta-buffer.ts";
import { readHistory } from "./history.ts";
import type { Ports, ShardRef } from "./ports.ts";
import { SiltError } from "./silt-error.ts";
import { writeDeltas } from "./write-deltas.ts";

const VERSIONS = 40;

let ports: Ports;
let shard: ShardRef;
beforeAll(async () => {
  ports = createMemoryPorts({ engine: createFoldEngine() });
  const { identity, policy } = await ensureCollection(ports, "notes", { dimension: 2 });
  [shard] = shardRefs(identity) as [ShardRef];
  for (let version = 1; version <= VERSIONS; version++) {
    const buffer = createDeltaBuffer();
    buffer.add({ operation: "delete", id: "a", sequence: 0 });
    const delta = { shard: shard.shard, content: buffer.content(), bytes: 1 };
    await writeDeltas(ports, identity, [delta]);
    await compactShard(ports, identity, policy, shard, { holder: "me" });
  }
});

/** The ports, and which objects were asked for, and how many at once. */
function counting(answer?: (key: string) => void) {
  const seen = { keys: [] as string[], atOnce: 0, most: 0 };
  const get: Ports["objects"]["get"] = async (key, options) => {
    seen.keys.push(key);
    seen.most = Math.max(seen.most, ++seen.atOnce);
    try {
      await new Promise(setImmediate);
      answer?.(key);
      return await ports.objects.get(key, options);
    } finally {
      seen.atOnce -= 1;
    }
  };
  return { seen, ports: { ...ports, objects: { ...ports.objects, get } } };
}

describe("the history of a long chain", () => {
  it("is read some manifests ahead, each of them once", async () => {
    const { seen, ports } = counting();
    const { versions } = await readHistory(ports, shard);
    expect(versions.map(({ ref }) => ref.version)).toEqual(
      Array.from({ length: VERSIONS + 1 }, (_, index) => VERSIONS - index),
    );
    // The pointer, and every version with version 0.
    expect(seen.keys).toHaveLength(VERSIONS + 2);
    expect(new Set(seen.keys).size).toBe(seen.keys.length);
    expect(seen.most).toBe(16);
  });

  it("fails by what it needs, and not by an attempt that lost, which it fetched for nothing", async () => {
    const denied = (version: number) => (key: string) => {
      if (key.includes(`/${version}-`)) throw new SiltError("unavailable", "denied");
    };
    await expect(readHistory(counting(denied(10)).ports, shard)).rejects.toThrow("denied");
    const stray = "e".repeat(16);
    const lost = counting((key) => {
      if (key.includes(stray)) throw new SiltError("unavailable", "denied");
    });
    const listFolders = async (prefix: string) => [
      ...(await ports.objects.listFolders(prefix)),
      `20-${stray}`,
      "not-a-version",
    ];
    const objects = { ...lost.ports.objects, listFolders };
    const { versions } = await readHistory({ ...ports, objects }, shard);
    expect(versions).toHaveLength(VERSIONS + 1);
    expect(lost.seen.keys.some((key) => key.includes(stray))).toBe(true);
  });

  it("is not read on when the time is up", async () => {
    const { seen, ports } = counting();
    const signal = AbortSignal.abort(new Error("time is up"));
    await expect(readHistory(ports, shard, { signal })).rejects.toThrow("time is up");
    expect(seen.keys).toHaveLength(1);
  });
});
