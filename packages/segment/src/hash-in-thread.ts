import { Worker } from "node:worker_threads";
import type { FileDigest } from "./file-digest.ts";

/** Length and SHA-256 of a large file, while this thread goes on with other work. */
export function hashFileInThread(path: string): Promise<FileDigest> {
  // Sources run as .ts, what is installed as .js; the worker lies beside this file either way.
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const url = new URL(`./hash-worker.${extension}`, import.meta.url);
  return new Promise((resolve, reject) => {
    const worker = new Worker(url, { workerData: path });
    worker.on("message", resolve);
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`the hashing thread ended with code ${code}`)));
  });
}
