/** A shard as layers: those of one version's segments, and above them the pending runs of a fresh read. */
import {
  type Metric,
  type Ports,
  type SegmentContent,
  type SegmentOwner,
  ShardReader,
  type VersionView,
  type ViewOptions,
} from "@silt/core";
import { contentLayer, type Layer } from "./layer.ts";
import { openSnapshot, type ShardSnapshot, type SnapshotOptions } from "./shard-snapshot.ts";

/** What one answer is made from. Dispose it when the answer is complete. */
export interface ShardView extends VersionView<ShardSnapshot> {
  /** Oldest first. */
  readonly layers: readonly Layer[];
}

export interface LayeredShard extends Disposable {
  /** As {@link ShardReader.view}. */
  view(options?: ViewOptions): Promise<ShardView>;
}

/** Reads one shard through the cache. */
export function openLayeredShard(
  ports: Ports,
  owner: SegmentOwner,
  options: SnapshotOptions,
): LayeredShard {
  const reader = new ShardReader<ShardSnapshot>(ports, owner, {
    open: (manifest, { searches }) => openSnapshot(ports, manifest, { ...options, searches }),
  });
  const metric = owner.vectors[0]?.metric as Metric;
  /** A content never changes, so neither do its vectors. */
  const above = new WeakMap<SegmentContent, Layer>();
  const layerOf = (content: SegmentContent) => {
    const layer = above.get(content) ?? contentLayer(content, { metric });
    above.set(content, layer);
    return layer;
  };
  return {
    async view(viewOptions) {
      const view = await reader.view(viewOptions);
      const { snapshot, overlay } = view;
      const layers = [...snapshot.layers, ...(overlay === undefined ? [] : [layerOf(overlay)])];
      return { ...view, layers, [Symbol.dispose]: () => view[Symbol.dispose]() };
    },
    [Symbol.dispose]: () => reader[Symbol.dispose](),
  };
}
