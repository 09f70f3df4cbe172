/** An extraction thread that ends at pictures named `crash`, once or always, and fails at others. */
import { closeSync, openSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import type { ExtractReply, ExtractTask } from "./extract-worker.ts";

const NOTHING = { records: [], vectors: new Float32Array(0) };

/** True for the first caller of all threads. */
function isFirst(path: string): boolean {
  try {
    closeSync(openSync(path, "wx"));
    return true;
  } catch {
    return false;
  }
}

parentPort?.on("message", ({ uri, metadata }: ExtractTask) => {
  const say = (reply: ExtractReply) => parentPort?.postMessage(reply);
  const first = isFirst(`${metadata.folder}/${uri}`);
  if (uri === "hangs") return;
  if (uri === "crash-always" || (uri === "crash-once" && first)) process.exit(7);
  if (uri === "throw-once" && first) {
    setImmediate(() => {
      throw new Error("nobody catches this");
    });
    return;
  }
  if (uri === "down" || (uri === "down-once" && first)) {
    say({ kind: "failed", errorKind: "unavailable", message: "the engine is down" });
    return;
  }
  const image = { lines: NOTHING, words: NOTHING, images: NOTHING, warnings: [uri] };
  say({ kind: "extracted", image });
});
