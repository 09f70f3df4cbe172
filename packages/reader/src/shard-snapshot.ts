/** One version of a shard, open for reading: its manifest and a layer for each of its segments. */
import type { OpenVersion, Ports, SnapshotManifest, VectorField } from "@silt/core";
import type { SegmentFile } from "@silt/segment";
import { type Layer, segmentLayer } from "./layer.ts";
import type { LoadedVectors, SegmentCache } from "./segment-cache.ts";
import { MEMORY_BYTES_MAX_DEFAULT, type VectorBlockOptions } from "./vector-block.ts";
import { VectorMemory } from "./vector-memory.ts";

export interface ShardSnapshot extends OpenVersion {
  /** Oldest first. */
  readonly layers: readonly Layer[];
}

export interface SnapshotOptions {
  readonly cache: SegmentCache;
  /** Shared by all snapshots of a process; each takes 1 GiB of it at most. */
  readonly memory?: VectorMemory | undefined;
  /** A search follows: load vectors while segments are hashed. */
  readonly searches?: boolean;
}

/**
 * Opens a version; undefined when a part of it is gone, which a newer pointer may explain. Its vectors
 * load at the first search.
 */
export async function openSnapshot(
  ports: Pick<Ports, "objects">,
  manifest: SnapshotManifest,
  options: SnapshotOptions,
): Promise<ShardSnapshot | undefined> {
  const field = manifest.vectors[0] as VectorField;
  let bytesLeft = MEMORY_BYTES_MAX_DEFAULT;
  const { memory = new VectorMemory() } = options;
  const files: SegmentFile[] = [];
  const disposers: (() => void)[] = [];
  const close = () => {
    for (const dispose of disposers) dispose();
    for (const file of files) file[Symbol.dispose]();
  };
  const layers: Layer[] = [];
  const { cache } = options;
  const loading = (): [number, VectorBlockOptions] => [
    field.dimension,
    { metric: field.metric, memoryBytesMax: Math.min(bytesLeft, memory.bytesLeft) },
  ];
  const take = (loaded: LoadedVectors) => {
    bytesLeft -= Math.min(bytesLeft, loaded.block.bytes);
    disposers.push(memory.take(loaded.block.bytes), () => loaded.block[Symbol.dispose]());
    return loaded;
  };
  try {
    for (const descriptor of manifest.segments) {
      let early: LoadedVectors | undefined;
      const opened = await cache.open(ports.objects, descriptor, () => {
        if (options.searches === true) early = cache.findVectors(descriptor, ...loading());
      });
      if (early !== undefined) take(early);
      if (opened.outcome === "absent") {
        close();
        return undefined;
      }
      const { file } = opened;
      files.push(file);
      layers.push(
        segmentLayer(file, () => early ?? take(cache.loadVectors(file, descriptor, ...loading()))),
      );
    }
  } catch (error) {
    close();
    throw error;
  }
  return { manifest, layers, retain: countUsers(close) };
}

function countUsers(close: () => void): () => () => void {
  let users = 0;
  return () => {
    users += 1;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      users -= 1;
      if (users === 0) close();
    };
  };
}
