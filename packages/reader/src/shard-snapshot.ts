/** One version of a shard, open for reading: its manifest and a layer for each of its segments. */
import type { OpenVersion, Ports, SnapshotManifest, VectorField } from "@silt/core";
import type { SegmentFile } from "@silt/segment";
import { type Layer, segmentLayer } from "./layer.ts";
import type { SegmentCache } from "./segment-cache.ts";
import { SnapshotVectors } from "./snapshot-vectors.ts";
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
  const { cache, memory = new VectorMemory() } = options;
  const vectors = new SnapshotVectors(cache, memory, field);
  const files: SegmentFile[] = [];
  const close = () => {
    vectors[Symbol.dispose]();
    for (const file of files) file[Symbol.dispose]();
  };
  const layers: Layer[] = [];
  try {
    for (const descriptor of manifest.segments) {
      const opened = await cache.open(ports.objects, descriptor, () => {
        if (options.searches === true) vectors.find(descriptor);
      });
      if (opened.outcome === "absent") {
        close();
        return undefined;
      }
      const { file } = opened;
      files.push(file);
      layers.push(segmentLayer(file, () => vectors.load(file, descriptor)));
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
