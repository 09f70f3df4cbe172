/**
 * A process of the kill tests: `node store-process.ts <write|compact|read> <location> <cache> <name>`.
 * It goes on until it is killed, and writes a JSON line for each thing that it was told is done.
 */
import { writeSync } from "node:fs";
import { isSiltError } from "@silt/core";
import { openStore } from "../../packages/silt/src/index.ts";

const [, , role, location = "", cacheFolder = "", name = ""] = process.argv;
const KEYS = 5;

/** Synchronously, so that a kill cannot take back what was said, nor let it be said too early. */
const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`);

await using store = await openStore(location, { create: false, cacheFolder });
const collection = await store.collection("notes");

/** Each turn writes a new record, and counts an old one up. */
async function write(turn: number): Promise<void> {
  const id = `${name}-${turn}`;
  const counter = `${name}-counter-${turn % KEYS}`;
  await collection.put([
    { id, embedding: [1, turn + 1] },
    { id: counter, embedding: [turn + 1, 1], metadata: { turn } },
  ]);
  say({ id, counter, turn });
}

async function compact(): Promise<void> {
  for (const { outcome, version } of await store.compact()) {
    if (outcome !== "nothing-to-do") say({ outcome, version });
  }
}

let seen = 0;
let versions: readonly number[] = [];
/** Versions never go down, and what a reader saw once it sees again. */
async function read(): Promise<void> {
  const { records, shards = [] } = await collection.get({ fresh: true });
  const now = shards.map(({ version }) => version);
  const lower = versions.some((version, index) => (now[index] ?? -1) < version);
  if (lower || records.length < seen) {
    say({ wrong: { versions, now, seen, records: records.length } });
  }
  seen = records.length;
  versions = now;
  say({ records: seen });
}

say({ ready: true });
for (let turn = 0; ; turn++) {
  try {
    if (role === "write") await write(turn);
    else if (role === "compact") await compact();
    else await read();
  } catch (error) {
    // Busy is an answer, anything else ends the process with its reason.
    if (!isSiltError(error, "unavailable") && !isSiltError(error, "fenced")) {
      say({ wrong: String(error) });
      throw error;
    }
  }
}
