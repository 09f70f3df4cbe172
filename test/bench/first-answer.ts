/** A process of `cold-open.ts`: opens a store, answers once, prints the ms since it was started. */
import { enableCompileCache } from "node:module";

enableCompileCache();
const { openStore } = await import("../../packages/silt/src/index.ts");
const [, , location = "", cacheFolder = ""] = process.argv;
await using store = await openStore(location, { create: false, cacheFolder });
const collection = await store.collection("bench");
const vector = Float32Array.from({ length: collection.dimension }, (_, index) => Math.sin(index));
const { results } = await collection.query({ vector, k: 10 });
if (results.length !== 10) throw new Error(`found ${results.length} records, expected 10`);
process.stdout.write(String(performance.now()));
