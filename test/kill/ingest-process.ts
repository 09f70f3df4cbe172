/**
 * A process of the kill tests: `node ingest-process.ts <location> <cache> <pictures> <pipeline> <moment> <n>`.
 * It ingests a folder and kills itself with SIGKILL at the n-th moment of that name: before and after
 * each stored object (`put`) and each registration (`commit`), at each picture that was `extracted` or
 * `acknowledged`, or `any` of these. It writes a JSON line for each of these pictures.
 */
import { writeSync } from "node:fs";
import type { Logger, Ports } from "@silt/core";
import type { PipelineKind } from "@silt/embed";
import { openStore } from "../../packages/silt/src/index.ts";
import { ingestPaths } from "../../packages/silt/src/ingest/ingest-paths.ts";

const [, , location = "", cacheFolder = "", pictures = "", pipeline, fatal, nth] = process.argv;

/** Synchronously, so that a kill cannot take back what was said, nor let it be said too early. */
const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`);

let moments = 0;
function pass(moment: "put" | "commit" | "extracted" | "acknowledged"): void {
  if (fatal !== moment && fatal !== "any") return;
  moments += 1;
  if (moments === Number(nth)) process.kill(process.pid, "SIGKILL");
}

async function around<T>(moment: "put" | "commit", call: () => Promise<T>): Promise<T> {
  pass(moment);
  const result = await call();
  pass(moment);
  return result;
}

const logger: Logger = {
  log(_level, message, fields) {
    if (message !== "picture extracted") return;
    say({ extracted: fields?.source });
    pass("extracted");
  },
};

function mortal({ objects, log, ...rest }: Ports): Ports {
  return {
    ...rest,
    objects: { ...objects, put: (...args) => around("put", () => objects.put(...args)) },
    log: { ...log, commit: (transaction) => around("commit", () => log.commit(transaction)) },
  };
}

await using store = await openStore(location, { cacheFolder, logger });
let known = 0;
const { failures, total } = await ingestPaths(mortal(store.context.ports), [pictures], {
  pipeline: pipeline as PipelineKind,
  onProgress({ ingested, source }) {
    if (ingested === known) return;
    known = ingested;
    say({ acknowledged: source });
    pass("acknowledged");
  },
});
say({ finished: { total, failures } });
