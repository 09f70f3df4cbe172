/** The front door: a location becomes an open store. */

import { accessSync, constants } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger, Metrics } from "@silt/core";
import { openLocalPorts } from "@silt/local";
import { SegmentCache } from "@silt/reader";
import { createSegmentEngine } from "@silt/segment";
import { defaultCacheFolder } from "./cache-folder.ts";
import { EmbedderPool } from "./embedder-pool.ts";
import { DEFAULT_LOCATION, parseLocation } from "./location.ts";
import { Store } from "./store.ts";

export interface OpenStoreOptions {
  /** Make the store when the folder is absent or empty (default), or refuse with `invalid`. */
  readonly create?: boolean | undefined;
  /** Where readers keep verified segments; processes share it. Default: `silt` in the user's cache folder. */
  readonly cacheFolder?: string | undefined;
  readonly logger?: Logger | undefined;
  readonly metrics?: Metrics | undefined;
}

const silentLogger: Logger = { log() {} };
const silentMetrics: Metrics = { count() {}, gauge() {} };

/**
 * Opens the store at a location: a folder (default `./silt-store`). Dispose it when done. Throws
 * `invalid` for a location that is no store, `corrupt` when its log is gone, `unavailable` when it
 * cannot be used now.
 */
export async function openStore(
  location: string = DEFAULT_LOCATION,
  options: OpenStoreOptions = {},
): Promise<Store> {
  const { path } = parseLocation(location);
  const { create = true, logger = silentLogger, metrics = silentMetrics } = options;
  await using opening = new AsyncDisposableStack();
  const tempRoot = () => tempRootOf(path);
  const engine = opening.use(createSegmentEngine({ tempRoot, logger }));
  const ports = opening.use(await openLocalPorts(path, { create, engine, logger, metrics }));
  const folder = options.cacheFolder ?? defaultCacheFolder();
  const cache = new SegmentCache({ folder, logger });
  const embedders = opening.use(new EmbedderPool());
  const holder = `${hostname()}/${process.pid}`;
  return new Store({ ports, cache, embedders, holder, tempRoot }, ports.root, opening.move());
}

/** On the store's own device files are linked into place; a read-only store is worked on elsewhere. */
function tempRootOf(folder: string): string {
  const own = join(folder, "tmp");
  try {
    accessSync(own, constants.W_OK);
    return own;
  } catch {
    return tmpdir();
  }
}
