import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openAwsPorts } from "@silt/aws";
import { type Ports, SiltError } from "@silt/core";
import { sweepTempFiles, systemClock, systemRandom } from "@silt/local";
import { createSegmentEngine } from "@silt/segment";
import type { Env } from "./env.ts";
import type { Wiring } from "./wiring.ts";

const WORK_FOLDER = join(tmpdir(), "silt-work");
/** A function is alone in its sandbox: what a killed predecessor left is never somebody's who is slow. */
const LEFTOVER_AGE_MS = 60 * 60 * 1_000;

/**
 * What the protocol acts through, for functions that neither search nor embed: so the models stay out
 * of their bundles. Throws like `openStore`.
 */
export async function openPorts(
  { location }: Pick<Env, "location">,
  { logger, metrics, instrument }: Pick<Wiring, "logger" | "metrics" | "instrument">,
  { create }: { readonly create: boolean },
): Promise<Ports> {
  if (location.kind !== "aws") {
    throw new SiltError(
      "invalid",
      `Cannot open "${location.path}": it is a folder, expected s3://bucket/prefix?table=NAME`,
    );
  }
  const tempRoot = makeTempRoot();
  const engine = createSegmentEngine({ tempRoot, logger });
  const { queue } = location;
  const world = { engine, clock: systemClock, random: systemRandom, logger, metrics };
  return openAwsPorts(location, { create, queue, instrument, ...world });
}

/** Disk that leftovers take would be missing from the budget of a compaction. */
function makeTempRoot(): string {
  const root = join(WORK_FOLDER, "tmp");
  mkdirSync(root, { recursive: true, mode: 0o700 });
  sweepTempFiles(WORK_FOLDER, Date.now() + LEFTOVER_AGE_MS);
  return root;
}
