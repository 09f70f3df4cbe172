import type { SegmentDescriptor, VectorField } from "@silt/core";
import type { SegmentFile } from "@silt/segment";
import type { LoadedVectors, SegmentCache } from "./segment-cache.ts";
import { MEMORY_BYTES_MAX_DEFAULT, type VectorBlockOptions } from "./vector-block.ts";
import type { HeldVectors, VectorMemory } from "./vector-memory.ts";

/** The vectors of a snapshot's segments, loaded when they are searched, within a limit for all of them. */
export class SnapshotVectors implements Disposable {
  readonly #cache: SegmentCache;
  readonly #memory: VectorMemory;
  readonly #field: VectorField;
  readonly #loaded = new Map<string, LoadedVectors>();
  /** All that were loaded; a search may still be at work on those that others have replaced. */
  readonly #held: HeldVectors[] = [];
  #bytesLeft = MEMORY_BYTES_MAX_DEFAULT;

  constructor(cache: SegmentCache, memory: VectorMemory, field: VectorField) {
    this.#cache = cache;
    this.#memory = memory;
    this.#field = field;
  }

  /** Loads those of a segment that have a sound file in the cache. Not to be trusted before the segment is. */
  find(descriptor: SegmentDescriptor): void {
    if (this.#loaded.has(descriptor.object.sha256)) return;
    const { dimension } = this.#field;
    this.#hold(descriptor, (options) => this.#cache.findVectors(descriptor, dimension, options));
  }

  /** Those of an open segment. What once found no room is loaded again when there is some. */
  load(file: SegmentFile, descriptor: SegmentDescriptor): LoadedVectors {
    const known = this.#loaded.get(descriptor.object.sha256);
    if (known !== undefined && !this.#hasRoomNow(known)) return known;
    const { dimension } = this.#field;
    return this.#hold(descriptor, (options) =>
      this.#cache.loadVectors(file, descriptor, dimension, options),
    ) as LoadedVectors;
  }

  #hasRoomNow({ block }: LoadedVectors): boolean {
    const left = Math.min(this.#bytesLeft, this.#memory.bytesLeft);
    return block.mode === "windowed" && block.residentBytes <= left;
  }

  #hold(
    { object: { sha256 } }: SegmentDescriptor,
    load: (options: VectorBlockOptions) => LoadedVectors | undefined,
  ): LoadedVectors | undefined {
    const { metric } = this.#field;
    const held = this.#memory.hold(`${sha256} ${metric}`, this.#bytesLeft, (memoryBytesMax) =>
      load({ metric, memoryBytesMax }),
    );
    if (held === undefined) return undefined;
    this.#held.push(held);
    this.#bytesLeft = Math.max(0, this.#bytesLeft - held.loaded.block.bytes);
    this.#loaded.set(sha256, held.loaded);
    return held.loaded;
  }

  [Symbol.dispose](): void {
    for (const held of this.#held) held[Symbol.dispose]();
  }
}
