import { getCompileCacheDir } from "node:module";
import { Worker } from "node:worker_threads";
import { type Logger, type LogLevel, SiltError, type SiltErrorKind } from "@silt/core";
import type { SegmentTask, SegmentTaskResults } from "./segment-tasks.ts";

type Reply =
  | {
      readonly kind: "log";
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: "result"; readonly id: number; readonly result: unknown }
  | {
      readonly kind: "failure";
      readonly id: number;
      readonly failure: { kind: SiltErrorKind; message: string; cause: string };
    };

interface Waiting {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** Why the task was given up: a lost lease stays `fenced`, anything else may be tried again. */
function abortError({ reason }: AbortSignal): SiltError {
  if (reason instanceof SiltError) return reason;
  return new SiltError("unavailable", "Cannot finish work on SQLite files: aborted", {
    cause: reason,
  });
}

/**
 * One worker thread for SQLite work, started at its first task: while it merges, this thread's
 * timers go on, so that a lease's heartbeat does. A worker that dies fails its tasks and is replaced.
 */
export class SegmentWorker implements AsyncDisposable {
  readonly #logger: Logger;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #lastId = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Runs a task in the worker. Aborting ends the worker: SQLite cannot be interrupted from outside. */
  run<T extends SegmentTask>(
    task: T,
    signal?: AbortSignal,
  ): Promise<SegmentTaskResults[T["task"]]> {
    signal?.throwIfAborted();
    const worker = this.#start();
    this.#lastId += 1;
    const id = this.#lastId;
    worker.ref();
    return new Promise<SegmentTaskResults[T["task"]]>((resolve, reject) => {
      const stop = () => void worker.terminate();
      signal?.addEventListener("abort", stop, { once: true });
      const settle = () => {
        signal?.removeEventListener("abort", stop);
        this.#waiting.delete(id);
        // An idle worker must not keep the process alive.
        if (this.#waiting.size === 0) worker.unref();
      };
      this.#waiting.set(id, {
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(signal?.aborted ? abortError(signal) : error);
        },
      });
      worker.postMessage({ id, task });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    // Sources run as .ts, what is installed as .js; the worker lies beside this file either way.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const worker = new Worker(new URL(`./segment-worker.${extension}`, import.meta.url), {
      workerData: { compileCache: getCompileCacheDir() },
    });
    worker.on("message", (reply: Reply) => this.#take(reply));
    worker.on("error", (error) => this.#fail(worker, error));
    worker.on("exit", (code) =>
      this.#fail(worker, new Error(`the worker ended with code ${code}`)),
    );
    this.#worker = worker;
    return worker;
  }

  #take(reply: Reply): void {
    if (reply.kind === "log") {
      this.#logger.log(reply.level, reply.message, reply.fields);
      return;
    }
    const waiting = this.#waiting.get(reply.id);
    if (reply.kind === "result") waiting?.resolve(reply.result as never);
    else {
      const { kind, message, cause } = reply.failure;
      waiting?.reject(new SiltError(kind, message, { cause: new Error(cause) }));
    }
  }

  #fail(worker: Worker, cause: Error): void {
    if (this.#worker === worker) this.#worker = undefined;
    for (const waiting of [...this.#waiting.values()]) {
      waiting.reject(
        new SiltError(
          "unavailable",
          `Cannot finish work on SQLite files: ${cause.message}; try again`,
          { cause },
        ),
      );
    }
  }
}
