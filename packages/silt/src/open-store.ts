/** The front door: a location becomes an open store. */

import { hostname } from "node:os";
import type { Logger, Metrics } from "@silt/core";
import { SegmentCache, VectorMemory } from "@silt/reader";
import { defaultCacheFolder } from "./cache-folder.ts";
import { EmbedderPool } from "./embedder-pool.ts";
import { DEFAULT_LOCATION, formatLocation, parseLocation } from "./location.ts";
import { type OpenPortsOptions, openPorts } from "./open-ports.ts";
import { Store } from "./store.ts";

export interface OpenStoreOptions
  extends Pick<OpenPortsOptions, "tempFolder" | "alone" | "instrument"> {
  /** Make the store when its place is empty (default), or refuse with `invalid`. */
  readonly create?: boolean | undefined;
  /** Where readers keep verified segments; processes share it. Default: `silt` in the user's cache folder. */
  readonly cacheFolder?: string | undefined;
  /** Files that were not used for longest leave the cache folder when it holds more. Default: 20 GiB. */
  readonly cacheBytesMax?: number | undefined;
  /** Memory for the vectors of all collections; what finds no room is read from disk. Default: 1 GiB a shard. */
  readonly vectorBytesMax?: number | undefined;
  readonly logger?: Logger | undefined;
  readonly metrics?: Metrics | undefined;
}

const silentLogger: Logger = { log() {} };
const silentMetrics: Metrics = { count() {}, gauge() {} };

/**
 * Opens the store at a location: a folder (default `./silt-store`) or `s3://bucket/prefix?table=NAME`.
 * Dispose it when done. Throws `invalid` for a location that is no store, `corrupt` when its log is gone,
 * `unavailable` when it cannot be used now.
 */
export async function openStore(
  location: string = DEFAULT_LOCATION,
  options: OpenStoreOptions = {},
): Promise<Store> {
  const parsed = parseLocation(location);
  const { create = true, logger = silentLogger, metrics = silentMetrics } = options;
  await using opening = new AsyncDisposableStack();
  const { ports, tempRoot } = opening.use(
    await openPorts(parsed, { ...options, create, logger, metrics }),
  );
  const folder = options.cacheFolder ?? defaultCacheFolder();
  const cache = new SegmentCache({ folder, logger, bytesMax: options.cacheBytesMax });
  const memory = new VectorMemory(options.vectorBytesMax);
  const embedders = opening.use(new EmbedderPool());
  const holder = `${hostname()}/${process.pid}`;
  const context = { ports, cache, memory, embedders, holder, tempRoot };
  return new Store(context, formatLocation(parsed), opening.move());
}
