/**
 * Peak memory (VmHWM) of a process that compacts 10 deltas of 1,000 records into 1,000,000, with
 * either strategy. `npm run bench -- memory [records]`
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStore } from "../../packages/silt/src/index.ts";
import { DIMENSION, peakMemoryMb, recordOf, report, temporaryFolder } from "./measure.ts";

const BATCH = 10_000;
const DELTAS = 10;

/** The process that is measured. */
async function compactHere(location: string): Promise<void> {
  await using store = await openStore(location, { create: false });
  const start = performance.now();
  const [shard] = await store.compact("bench");
  if (shard?.outcome !== "flipped") throw new Error(JSON.stringify(shard));
  const seconds = Math.round((performance.now() - start) / 100) / 10;
  process.stdout.write(JSON.stringify({ peakMb: peakMemoryMb(), seconds, ...shard }));
}

async function fill(location: string, records: number): Promise<void> {
  await using store = await openStore(location);
  const collection = await store.collection("bench", { dimension: DIMENSION, policy: "tiered" });
  for (let from = 0; from < records; from += BATCH) {
    await collection.put(Array.from({ length: BATCH }, (_, index) => recordOf(from + index, 0)));
  }
  const [shard] = await store.compact();
  if (shard?.outcome !== "flipped") throw new Error(JSON.stringify(shard));
}

async function addDeltas(location: string, records: number): Promise<void> {
  await using store = await openStore(location);
  const collection = await store.collection("bench");
  for (let delta = 1; delta <= DELTAS; delta++) {
    const numbers = Array.from({ length: 1_000 }, (_, index) =>
      index < 500 ? (index * 1_999 + delta * 17) % records : records + delta * 1_000 + index,
    );
    await collection.put(numbers.map((number) => recordOf(number, delta)));
  }
}

if (process.argv[2] === "compact") await compactHere(process.argv[3] as string);
else {
  const records = Number(process.argv[2] ?? 1_000_000);
  using folder = temporaryFolder();
  const location = join(folder.path, "store");
  await fill(location, records);
  const rows = [];
  for (const strategy of ["tiered", "single"] as const) {
    await using store = await openStore(location);
    await store.collection("bench", { dimension: DIMENSION, policy: strategy });
    await addDeltas(location, records);
    const script = fileURLToPath(import.meta.url);
    const output = execFileSync(process.execPath, [script, "compact", location], {
      encoding: "utf8",
    });
    const { peakMb, seconds, rowsIn, rowsOut, bytesWritten } = JSON.parse(output);
    rows.push({ strategy, "peak, MB": peakMb, "time, s": seconds, rowsIn, rowsOut, bytesWritten });
  }
  report("memory", rows, { records, deltas: DELTAS, dimension: DIMENSION });
}
