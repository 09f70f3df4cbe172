/** Entry of a thread that hashes one file and ends. */
import { parentPort, workerData } from "node:worker_threads";
import { hashFile } from "./file-digest.ts";

if (parentPort === null) throw new Error("hash-worker runs only as a worker thread");
parentPort.postMessage(hashFile(workerData as string));
