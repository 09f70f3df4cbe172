/** A collection of one shard on memory ports without an engine, and pointers that follow its own. */
import {
  createMemoryPorts,
  createSeededRandom,
  createVirtualClock,
  type MemoryObjectStore,
} from "@silt/testkit";
import { ensureCollection, shardRefs } from "./collection.ts";
import { encodeJson, type Pointer, seal, sha256Of } from "./formats.ts";
import { pointerKey } from "./object-keys.ts";
import type { ObjectStore, Ports, SegmentEngine, ShardRef } from "./ports.ts";
import { nextAncestors, type ReadPointer, readPointer } from "./snapshot-pointer.ts";

const noEngine: SegmentEngine = {
  openWorkbench: () => Promise.reject(new Error("these tests need no engine")),
};

export interface PointerWorld {
  readonly ports: Ports & { readonly objects: MemoryObjectStore };
  readonly shard: ShardRef;
}

export async function openPointerWorld(seed = 1): Promise<PointerWorld> {
  const clock = createVirtualClock({ sleeps: "skip" });
  const random = createSeededRandom(seed);
  const ports = createMemoryPorts({ engine: noEngine, clock, random });
  const { identity } = await ensureCollection(ports, "lines", { dimension: 2 });
  const [shard] = shardRefs(identity) as [ShardRef];
  return { ports, shard };
}

/** The pointer of the version after `base`. */
export function pointerAfter(base: Pointer, commitId: string): Pointer {
  const { selfSha256: _, ...rest } = base;
  return seal({
    ...rest,
    version: base.version + 1,
    epoch: base.epoch + 1,
    commitId,
    parentCommitId: base.commitId,
    ancestors: nextAncestors(base),
  });
}

/** Stores a pointer whatever is there. */
export async function forcePointer(world: PointerWorld, pointer: Pointer): Promise<ReadPointer> {
  const { objects } = world.ports;
  const key = pointerKey(world.shard);
  const bytes = encodeJson(pointer);
  await objects.delete(key);
  const digest = { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  const condition = { ifAbsent: true } as const;
  await objects.put(key, { kind: "bytes", bytes }, { condition, ...digest });
  return readPointer(objects, world.shard);
}

/** The world's ports with a put of its pointer that does something else, given the true put. */
export function portsWithFlip(
  { ports, shard }: PointerWorld,
  put: (
    put: () => ReturnType<ObjectStore["put"]>,
    attempt: number,
  ) => ReturnType<ObjectStore["put"]>,
): Ports & { readonly attempts: () => number } {
  let attempts = 0;
  const objects: ObjectStore = {
    ...ports.objects,
    put(key, source, options) {
      const truly = () => ports.objects.put(key, source, options);
      if (key !== pointerKey(shard)) return truly();
      attempts += 1;
      return put(truly, attempts);
    },
  };
  return { ...ports, objects, attempts: () => attempts };
}
