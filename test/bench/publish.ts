/**
 * A durable delta of 1,000 and of 10,000 records: the library call until it returns, beside only
 * writing the same SQLite file with fsync. `npm run bench -- publish`
 */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { join } from "node:path";
import { createDeltaBuffer, encodeEmbedding } from "@silt/core";
import { openForBulk, writeContent } from "@silt/segment";
import { openStore } from "../../packages/silt/src/index.ts";
import { DIMENSION, median, recordOf, report, round, temporaryFolder, timed } from "./measure.ts";

const SIZES = [1_000, 10_000];
const ROUNDS = 9;
const silent = { log() {} };

function writeOnly(path: string, records: ReturnType<typeof recordOf>[]): void {
  const buffer = createDeltaBuffer();
  for (const { embedding, ...rest } of records) {
    buffer.add({
      operation: "put",
      parent: null,
      sequence: 0,
      ...rest,
      embedding: encodeEmbedding(embedding),
    });
  }
  const db = openForBulk(path, silent);
  writeContent(db, buffer.content(), {
    kind: "delta",
    format: "1",
    requires: "[]",
    collection: "bench",
    storeId: "bench000",
    shard: "0-of-1",
    vectors: "[]",
    firstSequence: "0",
    lastSequence: "0",
    runId: "",
  });
  db.close();
  const descriptor = openSync(path, "r+");
  fsyncSync(descriptor);
  closeSync(descriptor);
}

using folder = temporaryFolder();
await using store = await openStore(join(folder.path, "store"), {
  cacheFolder: join(folder.path, "cache"),
});
const collection = await store.collection("bench", { dimension: DIMENSION });
const rows = [];
for (const size of SIZES) {
  const [written, published]: [number[], number[]] = [[], []];
  for (let turn = 0; turn < ROUNDS; turn++) {
    const records = Array.from({ length: size }, (_, index) => recordOf(index, turn));
    written.push(
      (await timed(() => writeOnly(join(folder.path, `only-${size}-${turn}.sqlite`), records)))[1],
    );
    published.push((await timed(() => collection.put(records)))[1]);
  }
  rows.push({
    records: size,
    "only SQLite + fsync, ms": round(median(written)),
    "put() to return, ms": round(median(published)),
    ratio: round(median(published) / median(written)),
  });
}
report("publish", rows, { dimension: DIMENSION, rounds: ROUNDS, figure: "median" });
