/** What the worker thread does: runs one task at a time, passes its log lines on. */
import { parentPort } from "node:worker_threads";
import { isSiltError, type Logger, reasonOf } from "@silt/core";
import { runSegmentTask, type SegmentTask } from "./segment-tasks.ts";
import { sqliteError } from "./sqlite-file.ts";

const port = parentPort;
if (port === null) throw new Error("segment-worker runs only as a worker thread");

const logger: Logger = {
  log: (level, message, fields) => port.postMessage({ kind: "log", level, message, fields }),
};

port.on("message", async ({ id, task }: { id: number; task: SegmentTask }) => {
  try {
    port.postMessage({ kind: "result", id, result: await runSegmentTask(task, logger) });
  } catch (thrown) {
    const error = isSiltError(thrown) ? thrown : sqliteError(task.task, taskPath(task), thrown);
    port.postMessage({
      kind: "failure",
      id,
      failure: { kind: error.kind, message: error.message, cause: reasonOf(error.cause ?? thrown) },
    });
  }
});

function taskPath(task: SegmentTask): string {
  return "path" in task ? task.path : task.tarPath;
}
