import { AsyncLocalStorage } from "node:async_hooks";
import { access } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Worker as Thread } from "node:worker_threads";
import { reasonOf, SiltError } from "@silt/core";
import type { Worker } from "tesseract.js";

/** What the engine's answers depend on; part of the pipeline id. */
export const OCR_ENGINE = "tesseract.js-7.0.0/eng-1.0.0-4.0.0_best_int/lstm/psm6";
const LANGUAGE_FOLDER = "4.0.0_best_int";

/** Text recognition in a thread of its own (tesseract.js, English). */
export interface OcrEngine {
  /** Rejects with `unavailable` when the engine can't start. */
  readonly worker: Promise<Worker>;
  /** Never resolves; rejects when the thread crashes, ends, or fails at a picture. */
  readonly death: Promise<never>;
  /** A working engine keeps the process alive, an idle one must not. */
  setBusy(busy: boolean): void;
  /** Ends the thread, whatever it is doing. */
  end(): Promise<void>;
}

/** Starts an engine on the language data in `langPath`, a folder with `eng.traineddata.gz`. */
export function startOcrEngine(langPath?: string): OcrEngine {
  const death = Promise.withResolvers<never>();
  death.promise.catch(() => {});
  let thread: Thread | undefined;
  let ended = false;
  const adopt = (spawned: Thread) => {
    thread = spawned;
    silence(spawned);
    // Unheard, an error of the thread would end the process.
    spawned.on("error", death.reject).on("exit", () => death.reject(new Error("the engine ended")));
    if (ended) void spawned.terminate();
  };
  const onFailure = (reason: unknown) => {
    // The library answers a failed start twice, and would throw at the second answer.
    thread?.removeAllListeners("message");
    death.reject(new Error(reasonOf(reason)));
  };
  const worker = createWorker(langPath, { adopt, onFailure, death: death.promise });
  worker.catch(() => {});
  return {
    worker,
    death: death.promise,
    setBusy: (busy) => (busy ? thread?.ref() : thread?.unref()),
    end: async () => {
      ended = true;
      await thread?.terminate();
    },
  };
}

async function createWorker(
  folder: string | undefined,
  hooks: {
    readonly adopt: (thread: Thread) => void;
    readonly onFailure: (reason: unknown) => void;
    readonly death: Promise<never>;
  },
): Promise<Worker> {
  try {
    const langPath = folder ?? installedLanguage();
    await access(join(langPath, "eng.traineddata.gz"));
    const { default: tesseract } = await import("tesseract.js");
    const starting = catchThread(hooks.adopt, () =>
      tesseract.createWorker("eng", tesseract.OEM.LSTM_ONLY, {
        langPath,
        gzip: true,
        // Any other method writes into the working directory.
        cacheMethod: "none",
        // Without a handler one bad picture ends the process, even inside try/catch.
        errorHandler: hooks.onFailure,
      }),
    );
    // By itself a failed start neither resolves nor rejects.
    const worker = await Promise.race([starting, hooks.death]);
    await worker.setParameters({ tessedit_pageseg_mode: tesseract.PSM.SINGLE_BLOCK });
    return worker;
  } catch (error) {
    throw new SiltError(
      "unavailable",
      `Cannot start text recognition: ${reasonOf(error)}, expected tesseract.js and @tesseract.js-data/eng; install again`,
      { cause: error },
    );
  }
}

function installedLanguage(): string {
  const manifest = createRequire(import.meta.url).resolve("@tesseract.js-data/eng/package.json");
  return join(dirname(manifest), LANGUAGE_FOLDER);
}

const spawning = new AsyncLocalStorage<(thread: Thread) => void>();

/**
 * Calls `adopt` with the thread that `spawn` makes. The library hands it out only once it has
 * started, so a failed start would leave a thread behind that keeps the process from ending.
 */
function catchThread<T>(adopt: (thread: Thread) => void, spawn: () => T): T {
  const onThread = (thread: Thread) => {
    // Node announces every new thread of the process; ours in the context that made it.
    if (spawning.getStore() !== adopt) return;
    process.off("worker", onThread);
    adopt(thread);
  };
  process.on("worker", onThread);
  return spawning.run(adopt, spawn);
}

/** The engine's remarks go nowhere: standard output belongs to JSON. */
function silence(thread: Thread): void {
  for (const stream of [thread.stdout, thread.stderr]) {
    stream.unpipe();
    stream.resume();
  }
}
