/**
 * A new process opens a store of 100,000 records and answers, with a warm cache: from the start of
 * the process to its first answer. `npm run bench -- cold-open [records]`
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStore } from "../../packages/silt/src/index.ts";
import { DIMENSION, median, recordOf, report, round, temporaryFolder } from "./measure.ts";

const RECORDS = Number(process.argv[2] ?? 100_000);
const BATCH = 10_000;
const ROUNDS = 9;
const MAIN = fileURLToPath(new URL("../../packages/silt/bin/silt.js", import.meta.url));
const LIBRARY = fileURLToPath(new URL("./first-answer.ts", import.meta.url));

using folder = temporaryFolder();
const location = join(folder.path, "store");
const cacheFolder = join(folder.path, "cache");
{
  await using store = await openStore(location, { cacheFolder });
  const collection = await store.collection("bench", { dimension: DIMENSION });
  for (let from = 0; from < RECORDS; from += BATCH) {
    await collection.put(Array.from({ length: BATCH }, (_, index) => recordOf(from + index, 0)));
  }
  await store.compact();
  await collection.query({ vector: recordOf(1, 1).embedding });
}

function firstAnswers(run: () => string): number[] {
  run();
  return Array.from({ length: ROUNDS }, () => Number(run()));
}

const env = { ...process.env, SILT_CACHE: cacheFolder, SILT_STORE: location };
const vector = JSON.stringify(Array.from(recordOf(1, 1).embedding));
const library = firstAnswers(() =>
  execFileSync(process.execPath, [LIBRARY, location, cacheFolder], { encoding: "utf8" }),
);
const command = firstAnswers(() => {
  const start = performance.now();
  execFileSync(process.execPath, [MAIN, "query", "bench", "--vector", "-", "--json"], {
    env,
    input: vector,
  });
  return String(performance.now() - start);
});
report(
  "cold-open",
  [
    {
      process: "library, first answer",
      ms: round(median(library)),
      max: round(Math.max(...library)),
    },
    { process: "silt query, whole", ms: round(median(command)), max: round(Math.max(...command)) },
  ],
  { records: RECORDS, dimension: DIMENSION, rounds: ROUNDS, figure: "median" },
);
