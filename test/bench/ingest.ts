/**
 * Many small pictures through `ingest`, pipeline `image` (no OCR), with 1 and 2 workers: pictures a
 * second, and the peak memory of the process at each third, which must not grow with what was done.
 *
 * `node test/bench/ingest.ts [pictures] [workers…]` (default 3000 1 2): a table, then one JSON document.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createSeededRandom } from "@silt/testkit";
import sharp from "sharp";
import { openStore } from "../../packages/silt/src/index.ts";
import { peakMemoryMb, report, round, temporaryFolder, timed } from "./measure.ts";

const PICTURES = 3_000;
const WORKERS = [1, 2];
const SIDE = 64;
const THIRDS = 3;

interface Measured {
  readonly workers: number;
  readonly pictures: number;
  readonly seconds: number;
  readonly picturesPerSecond: number;
  readonly runs: number;
  /** VmHWM of the whole process, threads included, when a third, two and all were done. */
  readonly peakMb: readonly number[];
  /** The second ingest of the same folder: nothing to do. */
  readonly unchangedPerSecond: number;
}

async function paint(folder: string, pictures: number): Promise<void> {
  for (let number = 0; number < pictures; number++) {
    const random = createSeededRandom(number + 1);
    const pixels = Buffer.from(random.bytes(8 * 8 * 3));
    const name = `${String(number).padStart(6, "0")}.jpg`;
    await sharp(pixels, { raw: { width: 8, height: 8, channels: 3 } })
      .resize(SIDE, SIDE)
      .jpeg()
      .toFile(join(folder, name));
  }
}

async function measure(location: string, pictures: string, workers: number): Promise<Measured> {
  await using store = await openStore(location, { cacheFolder: `${location}-cache` });
  const peakMb: number[] = [];
  const options = { workers, pipeline: "image" } as const;
  const [first, ms] = await timed(() =>
    store.ingest([pictures], {
      ...options,
      onProgress: ({ done, total }) => {
        if (done >= ((peakMb.length + 1) * total) / THIRDS) peakMb.push(peakMemoryMb());
      },
    }),
  );
  const [second, againMs] = await timed(() => store.ingest([pictures], options));
  if (first.ingested !== first.total || second.skipped !== first.total) {
    throw new Error(`Cannot measure: ${first.failed} of ${first.total} pictures failed`);
  }
  return {
    workers,
    pictures: first.total,
    seconds: round(ms / 1_000),
    picturesPerSecond: round((first.total * 1_000) / ms, 1),
    runs: first.runs.length,
    peakMb,
    unchangedPerSecond: Math.round((first.total * 1_000) / againMs),
  };
}

/** Each in a process of its own, for memory is measured. */
function measureApart(location: string, pictures: string, workers: number): Measured {
  const args = [import.meta.filename, "--one", location, pictures, String(workers)];
  const { status, stdout } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) throw new Error(`Cannot measure ${workers} workers: status ${status}`);
  return JSON.parse(stdout) as Measured;
}

async function main(): Promise<void> {
  const [pictures = PICTURES, ...workers] = process.argv.slice(2).map(Number);
  using folder = temporaryFolder();
  const painted = join(folder.path, "pictures");
  mkdirSync(painted);
  await paint(painted, pictures);
  const results = (workers.length > 0 ? workers : WORKERS).map((count) =>
    measureApart(join(folder.path, `store-${count}`), painted, count),
  );
  const rows = results.map(({ peakMb, ...rest }) => ({
    ...rest,
    ...Object.fromEntries(
      peakMb.map((mb, third) => [
        `peakMbAt${Math.ceil(((third + 1) * rest.pictures) / THIRDS)}`,
        mb,
      ]),
    ),
  }));
  report("ingest", rows, { side: SIDE, pipeline: "image" });
}

const [, , mode, location = "", painted = "", count] = process.argv;
if (mode === "--one") {
  console.log(JSON.stringify(await measure(location, painted, Number(count))));
} else {
  await main();
}
