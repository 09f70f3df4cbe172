/** The front door: a location becomes an open store. */

import { accessSync, constants, mkdirSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import type { AwsClients } from "@silt/aws";
import { type Logger, type Metrics, type Ports, reasonOf, SiltError } from "@silt/core";
import { openLocalPorts, sweepTempFiles, systemClock, systemRandom } from "@silt/local";
import { SegmentCache } from "@silt/reader";
import { createSegmentEngine } from "@silt/segment";
import { defaultCacheFolder } from "./cache-folder.ts";
import { EmbedderPool } from "./embedder-pool.ts";
import { DEFAULT_LOCATION, formatLocation, type Location, parseLocation } from "./location.ts";
import { Store } from "./store.ts";

export interface OpenStoreOptions {
  /** Make the store when its place is empty (default), or refuse with `invalid`. */
  readonly create?: boolean | undefined;
  /** Where readers keep verified segments; processes share it. Default: `silt` in the user's cache folder. */
  readonly cacheFolder?: string | undefined;
  /** Where a store on AWS works; a folder store works on its own disk. Default: below the system's. */
  readonly tempFolder?: string | undefined;
  readonly logger?: Logger | undefined;
  readonly metrics?: Metrics | undefined;
  /** Of a store on AWS: gets the clients before their first call, e.g. to trace them. */
  readonly instrument?: ((clients: AwsClients) => void) | undefined;
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
  const tempRoot = tempRootOf(parsed, options);
  const engine = opening.use(createSegmentEngine({ tempRoot, logger }));
  const portsOptions = { create, engine, logger, metrics };
  const ports = await openPorts(parsed, portsOptions, options, opening);
  const folder = options.cacheFolder ?? defaultCacheFolder();
  const cache = new SegmentCache({ folder, logger });
  const embedders = opening.use(new EmbedderPool());
  const holder = `${hostname()}/${process.pid}`;
  const context = { ports, cache, embedders, holder, tempRoot };
  return new Store(context, formatLocation(parsed), opening.move());
}

type PortsOptions = Parameters<typeof openLocalPorts>[1];

async function openPorts(
  location: Location,
  options: PortsOptions,
  { instrument }: OpenStoreOptions,
  opening: AsyncDisposableStack,
): Promise<Ports> {
  if (location.kind === "folder") return opening.use(await openLocalPorts(location.path, options));
  // The SDK takes longer to load than a folder store to open.
  const { openAwsPorts } = await import("@silt/aws");
  const { queue } = location;
  const ports = { ...options, clock: systemClock, random: systemRandom };
  return opening.use(await openAwsPorts(location, { ...ports, queue, instrument }));
}

/** On a folder store's own device files are linked into place; where it may not be written, and for AWS, elsewhere. */
function tempRootOf(location: Location, { tempFolder }: OpenStoreOptions): () => string {
  if (location.kind === "aws") {
    const folder = tempFolder ?? join(tmpdir(), `silt-${process.getuid?.() ?? "user"}`);
    let made: string | undefined;
    return () => {
      made ??= makeTempRoot(folder);
      return made;
    };
  }
  const own = join(location.path, "tmp");
  return () => {
    try {
      accessSync(own, constants.W_OK);
      return own;
    } catch {
      return tmpdir();
    }
  };
}

/** A folder of this user alone; what killed processes left there goes. */
function makeTempRoot(folder: string): string {
  try {
    const root = join(folder, "tmp");
    mkdirSync(root, { recursive: true, mode: 0o700 });
    sweepTempFiles(folder, Date.now());
    return root;
  } catch (error) {
    throw new SiltError("unavailable", `Cannot work in "${folder}": ${reasonOf(error)}`, {
      cause: error,
    });
  }
}
