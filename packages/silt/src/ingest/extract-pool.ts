import { Worker } from "node:worker_threads";
import { isSiltError, SiltError } from "@silt/core";
import type { ExtractReply, ExtractTask, PackedImage } from "./extract-worker.ts";

/** Threads that turn pictures into records while this one stays free. */
export interface ExtractPool extends AsyncDisposable {
  /**
   * Extracts one picture when a thread is free. Throws `invalid` for what is no picture, `internal`
   * when two threads crashed at it, `unavailable` when engine or model failed twice.
   */
  extract(task: ExtractTask): Promise<PackedImage>;
}

/** One thread's turn, and another one's if that ends badly. */
const ATTEMPTS_MAX = 2;

/**
 * Pixels, weights and vectors lie outside the JavaScript heap. Without limits V8 lets garbage grow to
 * twice the memory before it collects (465 MB instead of 265 with two threads and 3,000 pictures).
 */
const HEAP_LIMITS = { maxYoungGenerationSizeMb: 16, maxOldGenerationSizeMb: 512 };

interface Waiting {
  readonly resolve: (thread: ExtractThread) => void;
  readonly reject: (reason: unknown) => void;
}

/** Starts no thread before the first picture. Aborting ends all threads at once. */
export function createExtractPool(options: {
  readonly workers: number;
  readonly signal?: AbortSignal | undefined;
  /** The module that the threads run. */
  readonly module?: URL;
}): ExtractPool {
  const { workers, signal, module = extractWorkerModule() } = options;
  const idle: ExtractThread[] = [];
  const threads = new Set<ExtractThread>();
  const queue: Waiting[] = [];

  let ended: { readonly reason: unknown } | undefined;

  const throwIfEnded = () => {
    signal?.throwIfAborted();
    if (ended !== undefined) throw ended.reason;
  };
  const acquire = async (): Promise<ExtractThread> => {
    throwIfEnded();
    for (let free = idle.pop(); free !== undefined; free = idle.pop()) {
      if (free.isAlive) return free;
      threads.delete(free); // it died while nobody looked
    }
    if (threads.size < workers) return start();
    return new Promise((resolve, reject) => queue.push({ resolve, reject }));
  };
  const start = () => {
    const thread = new ExtractThread(module);
    threads.add(thread);
    return thread;
  };
  const release = (thread: ExtractThread) => {
    if (!thread.isAlive) threads.delete(thread);
    const next = queue.shift();
    if (next !== undefined) next.resolve(thread.isAlive ? thread : start());
    else if (thread.isAlive) idle.push(thread);
  };
  const end = async (reason: unknown) => {
    ended ??= { reason };
    for (const waiting of queue.splice(0)) waiting.reject(reason);
    await Promise.all([...threads].map((thread) => thread.end(reason)));
  };
  const onAbort = () => void end(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });

  const extractOnce = async (task: ExtractTask): Promise<PackedImage> => {
    const thread = await acquire();
    try {
      return await thread.run(task);
    } finally {
      release(thread);
    }
  };
  return {
    async extract(task) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await extractOnce(task);
        } catch (error) {
          throwIfEnded();
          const mayPass = error instanceof CrashError || isSiltError(error, "unavailable");
          if (mayPass && attempt < ATTEMPTS_MAX) continue;
          throw error instanceof CrashError ? crashed(task, error) : error;
        }
      }
    },
    async [Symbol.asyncDispose]() {
      signal?.removeEventListener("abort", onAbort);
      await end(new SiltError("unavailable", "Cannot extract a picture: the ingest has ended"));
    },
  };
}

/** Sources run as .ts, what is installed as .js; the worker lies beside this file either way. */
function extractWorkerModule(): URL {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`./extract-worker.${extension}`, import.meta.url);
}

class CrashError extends Error {}

function crashed({ uri }: ExtractTask, cause: Error): SiltError {
  return new SiltError(
    "internal",
    `Cannot extract "${uri}": the extraction thread crashed ${ATTEMPTS_MAX} times (${cause.message})`,
    { cause },
  );
}

/** A thread with at most one picture in hand. */
class ExtractThread {
  readonly #worker: Worker;
  #settle: { resolve: (image: PackedImage) => void; reject: (reason: unknown) => void } | undefined;
  #death: Error | undefined;

  constructor(module: URL) {
    this.#worker = new Worker(module, { resourceLimits: HEAP_LIMITS });
    this.#worker.unref();
    this.#worker.on("message", (reply: ExtractReply) => this.#take(reply));
    this.#worker.on("error", (error) => this.#die(error));
    this.#worker.on("messageerror", (error) => this.#die(error));
    this.#worker.on("exit", (code) => this.#die(new Error(`it ended with code ${code}`)));
  }

  get isAlive(): boolean {
    return this.#death === undefined;
  }

  run(task: ExtractTask): Promise<PackedImage> {
    if (this.#death !== undefined) return Promise.reject(new CrashError(this.#death.message));
    this.#worker.ref();
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#worker.postMessage(task);
    });
  }

  /** Whatever it has in hand is rejected with the reason. */
  async end(reason: unknown): Promise<void> {
    this.#death ??= new Error("it was ended");
    this.#take(undefined, reason);
    await this.#worker.terminate();
  }

  #die(error: unknown): void {
    const reason = error instanceof Error ? error : new Error(String(error));
    this.#death ??= reason;
    this.#take(undefined, new CrashError(reason.message, { cause: reason }));
  }

  #take(reply: ExtractReply | undefined, reason?: unknown): void {
    const settle = this.#settle;
    this.#settle = undefined;
    // An idle thread must not keep the process alive.
    this.#worker.unref();
    if (reply === undefined) settle?.reject(reason);
    else if (reply.kind === "extracted") settle?.resolve(reply.image);
    else settle?.reject(new SiltError(reply.errorKind, reply.message));
  }
}
