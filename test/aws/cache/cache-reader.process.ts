/**
 * `node cache-reader.process.ts <location> <cache folder> <umask> <rows>`: reads a collection again and
 * again through a shared cache until it is killed; a JSON line for each answer or failure.
 */
import { writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [, , location = "", folder = "", umask = "0", rows = "0"] = process.argv;
process.umask(Number.parseInt(umask, 8));

const { isSiltError, reasonOf } = await import("@silt/core");
const { SegmentCache } = await import("@silt/reader");
const { openStore } = await import("../../../packages/silt/src/index.ts");
const { Store } = await import("../../../packages/silt/src/store.ts");

/** Less than two segments and their vectors: each new one pushes others out. */
const CACHE_BYTES_MAX = 600 * 1024;
const PAUSE_MS = 20;

const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`);

// Not every user has a name, which the default asks for.
const tempFolder = join(tmpdir(), `silt-shared-${process.getuid?.()}`);
const opened = await openStore(location, { create: false, cacheFolder: folder, tempFolder });
const { context } = opened;
const cache = new SegmentCache({
  folder,
  logger: context.ports.logger,
  bytesMax: CACHE_BYTES_MAX,
});
const resources = new AsyncDisposableStack();
resources.use(opened);

/** Opens the reader anew, as a function that starts cold does. */
async function look(): Promise<number> {
  const store = new Store({ ...context, cache }, opened.location, resources);
  const collection = await store.collection("turns");
  const { records } = await collection.get({ embeddings: true });
  const { results } = await collection.query({ vector: [1, 0], k: 3 });
  const turns = new Set(records.map(({ metadata }) => Number(metadata.turn)));
  const isWhole = records.length === Number(rows) && turns.size === 1 && results.length === 3;
  const [turn = -1] = turns;
  const isRight = records.every(({ embedding }) => embedding?.[1] === turn);
  if (!isWhole || !isRight) {
    const seen = { records: records.length, turns: [...turns], results: results.length };
    say({ wrong: JSON.stringify(seen) });
  }
  return turn;
}

let last = -1;
for (;;) {
  try {
    const turn = await look();
    if (turn < last) say({ wrong: `turn ${turn} after turn ${last}` });
    last = turn;
    say({ turn });
  } catch (error) {
    if (isSiltError(error)) say({ failure: error.kind, message: reasonOf(error) });
    else say({ wrong: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
