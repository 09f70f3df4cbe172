/**
 * 200 deltas of 1,000 records, half new and half updates, compacted after each: write amplification
 * and time of the strategies `tiered` and `single`. `npm run bench -- compaction [deltas]`
 */
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { openStore } from "../../packages/silt/src/index.ts";
import { DIMENSION, recordOf, report, round, temporaryFolder, timed } from "./measure.ts";

const DELTAS = Number(process.argv[2] ?? 200);
const RECORDS = 1_000;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

async function run(strategy: "tiered" | "single") {
  using folder = temporaryFolder();
  await using store = await openStore(join(folder.path, "store"), {
    cacheFolder: join(folder.path, "cache"),
  });
  const collection = await store.collection("bench", { dimension: DIMENSION, policy: strategy });
  let [known, written, ms, segmentsMax] = [0, 0, 0, 0];
  for (let delta = 0; delta < DELTAS; delta++) {
    const half = known === 0 ? 0 : RECORDS / 2;
    const updates = Array.from({ length: half }, (_, index) => (index * 7919 + delta * 31) % known);
    const fresh = Array.from({ length: RECORDS - half }, (_, index) => known + index);
    known += fresh.length;
    await collection.put(
      [...new Set([...updates, ...fresh])].map((number) => recordOf(number, delta)),
    );
    // The garbage of making records is no part of a compaction, of either strategy.
    collectGarbage();
    const [[shard], took] = await timed(() => store.compact("bench"));
    written += shard?.bytesWritten ?? 0;
    ms += took;
    const [status] = await store.status("bench");
    segmentsMax = Math.max(segmentsMax, status?.shards[0]?.segments ?? 0);
  }
  const objects = await store.context.ports.objects.list("collections/", { limit: 100_000 });
  const deltas = objects.filter(({ key }) => key.endsWith(".tar"));
  const deltaBytes = deltas.reduce((sum, { bytes }) => sum + bytes, 0);
  return { strategy, records: known, deltaBytes, written, ms, segmentsMax };
}

const tiered = await run("tiered");
const single = await run("single");
report(
  "compaction",
  [tiered, single].map((measured) => ({
    strategy: measured.strategy,
    records: measured.records,
    "written / deltas": round(measured.written / measured.deltaBytes),
    "total, s": round(measured.ms / 1000),
    "segments at most": measured.segmentsMax,
    "time / single": round(measured.ms / single.ms, 4),
  })),
  { deltas: DELTAS, recordsPerDelta: RECORDS, dimension: DIMENSION },
);
