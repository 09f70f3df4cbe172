import { Worker } from "node:worker_threads";
import { SiltError } from "@silt/core";
import type { FileDigest } from "./file-digest.ts";

/**
 * What the thread runs, given to it as text: a thread that loads a module takes 70 ms longer to start,
 * which is half of what it takes to hash 180 MB. It may use nothing of this file.
 */
function hashWorkerData(): void {
  const { parentPort, workerData } = process.getBuiltinModule("node:worker_threads");
  const { createHash } = process.getBuiltinModule("node:crypto");
  const { closeSync, openSync, readSync } = process.getBuiltinModule("node:fs");
  const hash = createHash("sha256");
  const chunk = Buffer.allocUnsafe(1024 * 1024);
  const file = openSync(workerData as string, "r");
  let bytes = 0;
  for (let read = readSync(file, chunk); read > 0; read = readSync(file, chunk)) {
    hash.update(chunk.subarray(0, read));
    bytes += read;
  }
  closeSync(file);
  parentPort?.postMessage({ bytes, sha256: hash.digest("hex") });
}

/** Length and SHA-256 of a large file, while this thread goes on with other work. */
export function hashFileInThread(path: string): Promise<FileDigest> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(`(${hashWorkerData})()`, { eval: true, workerData: path });
    worker.on("message", resolve);
    worker.on("error", reject);
    worker.on("exit", () =>
      reject(new SiltError("unavailable", `Cannot hash "${path}": its thread ended too soon`)),
    );
  });
}
