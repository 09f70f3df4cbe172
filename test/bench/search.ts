/**
 * Exact search, k = 10, cosine, 384 dimensions: the whole `collection.query()` of a warm reader (pointer
 * and log looked at, records resolved) and its WASM kernel alone, against sqlite-vec over rows and a
 * plain JavaScript loop, on the same vectors and queries in the same run.
 *
 * `node test/bench/search.ts [records…]` (default 10000 100000): a table, then one JSON document.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSeededRandom } from "@silt/testkit";
import Database from "better-sqlite3";
import { distanceOf } from "../../packages/core/src/index.ts";
import {
  loadVectorBlock,
  openVectorFile,
  type VectorBlock,
  type VectorRow,
  type VectorSource,
  writeVectorFile,
} from "../../packages/reader/src/index.ts";
import { openStore } from "../../packages/silt/src/index.ts";
import { report } from "./measure.ts";

const DIMENSION = 384;
const LIMIT = 10;
const QUERIES = 40;
const WARM_UP = 3;
/** Too little for any of the sizes: rows are read again for each query. */
const WINDOW_BYTES = 1024 * 1024;
const KEY = { dimension: DIMENSION, segmentSha256: "0".repeat(64) };

interface Measured {
  readonly records: number;
  readonly engine: string;
  /** Milliseconds until the first query can start; null where nothing is loaded. */
  readonly loadMs: number | null;
  readonly firstMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
}

const seeded = (seed: number) => createSeededRandom(seed).fraction;

function vectors(count: number, seed: number): Float32Array[] {
  const random = seeded(seed);
  return Array.from({ length: count }, () =>
    Float32Array.from({ length: DIMENSION }, () => random() - 0.5),
  );
}

const blobOf = (vector: Float32Array) =>
  new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);

/** Rows like a segment's: 16 KiB pages, the embedding last. */
function openDatabase(path: string, rows: readonly Float32Array[]) {
  const db = new Database(path);
  db.pragma("page_size = 16384");
  db.pragma("synchronous = OFF");
  db.exec("CREATE TABLE rows (row INTEGER PRIMARY KEY, id TEXT, embedding BLOB)");
  const insert = db.prepare("INSERT INTO rows (id, embedding) VALUES (?, ?)");
  db.transaction(() => {
    rows.forEach((row, index) => {
      insert.run(`record-${index}`, blobOf(row));
    });
  })();
  db.pragma("mmap_size = 2000000000");
  db.loadExtension(createRequire(import.meta.url)("sqlite-vec").getLoadablePath());
  return db;
}

/** Top-k by a loop over one Float32Array in JavaScript, norms known. */
function plainLoop(rows: readonly Float32Array[]) {
  const all = new Float32Array(rows.length * DIMENSION);
  rows.forEach((row, index) => {
    all.set(row, index * DIMENSION);
  });
  const norms = Float64Array.from(rows, (row) => Math.hypot(...row));
  return (query: Float32Array): number[] => {
    const norm = Math.hypot(...query);
    const best: { index: number; distance: number }[] = [];
    for (let index = 0; index < norms.length; index++) {
      let dot = 0;
      const from = index * DIMENSION;
      for (let i = 0; i < DIMENSION; i++) dot += (all[from + i] as number) * (query[i] as number);
      const distance = 1 - dot / (norm * (norms[index] as number));
      if (best.length === LIMIT && distance >= (best[LIMIT - 1]?.distance as number)) continue;
      const at = best.findIndex((other) => other.distance > distance);
      best.splice(at < 0 ? best.length : at, 0, { index, distance });
      best.length = Math.min(best.length, LIMIT);
    }
    return best.map(({ index }) => index);
  };
}

function measure(
  records: number,
  engine: string,
  loadMs: number | null,
  search: (query: Float32Array) => readonly number[],
  queries: readonly Float32Array[],
  expected: readonly (readonly number[])[],
): Measured {
  const times = queries.map((query, index) => {
    const start = performance.now();
    const found = search(query);
    const ms = performance.now() - start;
    if (`${found}` !== `${expected[index]}`) throw new Error(`${engine} found other rows`);
    return ms;
  });
  return summarize(records, engine, loadMs, times);
}

function summarize(
  records: number,
  engine: string,
  loadMs: number | null,
  times: readonly number[],
): Measured {
  const sorted = times.slice(WARM_UP).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] as number;
  return { records, engine, loadMs, firstMs: times[0] as number, p50Ms: at(0.5), p95Ms: at(0.95) };
}

function timed<T>(work: () => T): readonly [T, number] {
  const start = performance.now();
  const result = work();
  return [result, performance.now() - start];
}

/** The source that reads a segment's rows, in order. */
function rowSource(db: Database.Database, count: number): VectorSource {
  const rows = db.prepare("SELECT embedding FROM rows ORDER BY row").raw().iterate();
  return {
    dimension: DIMENSION,
    count,
    read(target, _firstRow, wanted) {
      const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
      for (let row = 0; row < wanted; row++) {
        bytes.set((rows.next().value as [Uint8Array])[0], row * DIMENSION * 4);
      }
    },
    close: () => rows.return?.(),
  };
}

function openFile(path: string, memoryBytesMax: number): VectorBlock {
  const opened = openVectorFile(path, KEY, { metric: "cosine", memoryBytesMax });
  if (opened.outcome !== "opened") throw new Error(opened.outcome);
  return opened.block;
}

async function benchmark(records: number, folder: string): Promise<Measured[]> {
  const rows = vectors(records, records);
  const queries = vectors(QUERIES + WARM_UP, 7);
  const db = openDatabase(join(folder, `${records}.sqlite`), rows);
  const file = join(folder, `${records}.vectors`);
  const rowsForFile = function* (): Generator<VectorRow> {
    for (const [index, row] of rows.entries()) yield { rowid: index + 1, embedding: blobOf(row) };
  };
  writeVectorFile(file, KEY, rowsForFile());

  const expected = queries.map((query) =>
    rows
      .map((row, index) => ({ index, distance: distanceOf("cosine", query, row) }))
      .sort((a, b) => a.distance - b.distance || a.index - b.index)
      .slice(0, LIMIT)
      .map(({ index }) => index),
  );
  const run = (engine: string, ms: number | null, search: (query: Float32Array) => number[]) =>
    measure(records, engine, ms, search, queries, expected);
  const byBlock = (block: VectorBlock) => (query: Float32Array) =>
    block.nearest(query, LIMIT).map(({ index }) => index);

  const [fromRows, rowsMs] = timed(() =>
    loadVectorBlock(rowSource(db, records), { metric: "cosine", memoryBytesMax: 4 * 1024 ** 3 }),
  );
  const [fromFile, fileMs] = timed(() => openFile(file, 4 * 1024 ** 3));
  const [windowed, windowedMs] = timed(() => openFile(file, WINDOW_BYTES));
  const bySql = db
    .prepare("SELECT row FROM rows ORDER BY vec_distance_cosine(embedding, ?) LIMIT ?")
    .pluck();
  const loop = plainLoop(rows);
  const measured = [
    run("wasm, loaded from SQLite rows", rowsMs, byBlock(fromRows)),
    run("wasm, loaded from vector file", fileMs, byBlock(fromFile)),
    run("wasm, windowed vector file", windowedMs, byBlock(windowed)),
    run("sqlite-vec over rows", null, (query) =>
      bySql.all(blobOf(query), LIMIT).map((row) => (row as number) - 1),
    ),
    run("JavaScript loop", null, loop),
  ];
  windowed[Symbol.dispose]();
  db.close();
  return [await measureReader(records, rows, queries, expected, folder), ...measured];
}

/** The library's own call, as an application makes it. */
async function measureReader(
  records: number,
  rows: readonly Float32Array[],
  queries: readonly Float32Array[],
  expected: readonly (readonly number[])[],
  folder: string,
): Promise<Measured> {
  await using store = await openStore(join(folder, `store-${records}`), {
    cacheFolder: join(folder, "cache"),
  });
  const collection = await store.collection("bench", { dimension: DIMENSION });
  for (let from = 0; from < records; from += 10_000) {
    const batch = rows.slice(from, from + 10_000);
    await collection.put(
      batch.map((embedding, index) => ({
        id: `${String(from + index).padStart(9, "0")}`,
        embedding,
      })),
    );
  }
  await store.compact();
  const times: number[] = [];
  for (const [index, vector] of queries.entries()) {
    const start = performance.now();
    const { results } = await collection.query({ vector, k: LIMIT });
    times.push(performance.now() - start);
    const found = results.map(({ id }) => Number(id));
    if (`${found}` !== `${expected[index]}`) throw new Error("collection.query() found others");
  }
  return summarize(records, "collection.query(), warm reader", null, times);
}

async function main(): Promise<void> {
  const sizes = process.argv.slice(2).map(Number);
  const folder = mkdtempSync(join(tmpdir(), "silt-bench-"));
  try {
    const results: Measured[] = [];
    for (const records of sizes.length > 0 ? sizes : [10_000, 100_000]) {
      results.push(...(await benchmark(records, folder)));
    }
    const round = (ms: number | null) => (ms === null ? null : Math.round(ms * 100) / 100);
    const table = results.map(({ loadMs, firstMs, p50Ms, p95Ms, ...rest }) => ({
      ...rest,
      loadMs: round(loadMs),
      firstMs: round(firstMs),
      p50Ms: round(p50Ms),
      p95Ms: round(p95Ms),
    }));
    report("search", table, { dimension: DIMENSION, k: LIMIT });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
