import type { Ports } from "@silt/core";
import type { SegmentCache, VectorMemory } from "@silt/reader";
import type { EmbedderPool } from "./embedder-pool.ts";

/** What the parts of an open store share. */
export interface StoreContext {
  readonly ports: Ports;
  readonly cache: SegmentCache;
  readonly memory: VectorMemory;
  readonly embedders: EmbedderPool;
  /** Names this process in leases and messages. */
  readonly holder: string;
  /** Where work folders are made; what killed processes leave there is swept. */
  readonly tempRoot: () => string;
}
