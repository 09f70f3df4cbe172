/** From a location to ports: what a store is opened on, without readers and models. */
import { accessSync, constants, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AwsClients } from "@silt/aws";
import { type Logger, type Metrics, type Ports, reasonOf, SiltError } from "@silt/core";
import {
  openLocalPorts,
  sweepTempFiles,
  systemClock,
  systemRandom,
  TEMP_AGE_MS_MAX,
} from "@silt/local";
import { createSegmentEngine } from "@silt/segment";
import type { Location } from "./location.ts";

export interface OpenPortsOptions {
  /** Make the store when its place is empty; else that is `invalid`. */
  readonly create: boolean;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Where a store on AWS works; a folder store works on its own disk. Default: below the system's. */
  readonly tempFolder?: string | undefined;
  /** No other process works there, as in a function: what lies there is nobody's, and goes at once. */
  readonly alone?: boolean | undefined;
  /** Of a store on AWS: gets the clients before their first call, e.g. to trace them. */
  readonly instrument?: ((clients: AwsClients) => void) | undefined;
}

export interface OpenedPorts extends AsyncDisposable {
  readonly ports: Ports;
  /** Where work folders are made. */
  readonly tempRoot: () => string;
}

/** Throws like `openStore`. */
export async function openPorts(
  location: Location,
  options: OpenPortsOptions,
): Promise<OpenedPorts> {
  const { create, logger, metrics, instrument } = options;
  await using opening = new AsyncDisposableStack();
  const tempRoot = tempRootOf(location, options);
  const engine = opening.use(createSegmentEngine({ tempRoot, logger }));
  const common = { create, engine, logger, metrics };
  let ports: Ports;
  if (location.kind === "folder") {
    ports = opening.use(await openLocalPorts(location.path, common));
  } else {
    // The SDK takes longer to load than a folder store to open.
    const { openAwsPorts } = await import("@silt/aws");
    const { queue } = location;
    const world = { ...common, clock: systemClock, random: systemRandom };
    ports = opening.use(await openAwsPorts(location, { ...world, queue, instrument }));
  }
  const opened = opening.move();
  return { ports, tempRoot, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** On a folder store's own device files are linked into place; where it may not be written, and for AWS, elsewhere. */
function tempRootOf(location: Location, { tempFolder, alone }: OpenPortsOptions): () => string {
  if (location.kind === "aws") {
    const folder = tempFolder ?? join(tmpdir(), `silt-${process.getuid?.() ?? "user"}`);
    let made: string | undefined;
    return () => {
      made ??= makeTempRoot(folder, alone === true);
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
function makeTempRoot(folder: string, alone: boolean): string {
  try {
    const root = join(folder, "tmp");
    mkdirSync(root, { recursive: true, mode: 0o700 });
    sweepTempFiles(folder, Date.now() + (alone ? TEMP_AGE_MS_MAX : 0));
    return root;
  } catch (error) {
    throw new SiltError("unavailable", `Cannot work in "${folder}": ${reasonOf(error)}`, {
      cause: error,
    });
  }
}
