import { openStore, type Store } from "../packages/silt/src/serverless.ts";
import type { Env } from "./env.ts";
import type { Wiring } from "./wiring.ts";

/** The store of the environment; with `create` it is made, and its collections where they are missing. */
export async function openEnvStore(
  env: Pick<Env, "store" | "cacheFolder" | "cacheBytesMax" | "vectorBytesMax" | "collections">,
  { logger, metrics, instrument }: Pick<Wiring, "logger" | "metrics" | "instrument">,
  { create }: { readonly create: boolean },
): Promise<Store> {
  const { cacheFolder, cacheBytesMax, vectorBytesMax } = env;
  const options = {
    create,
    cacheFolder,
    cacheBytesMax,
    vectorBytesMax,
    alone: true,
    logger,
    metrics,
    instrument,
  };
  const store = await openStore(env.store, options);
  try {
    for (const { name, ...settings } of create ? env.collections : []) {
      await store.ensureCollection(name, settings as Parameters<Store["ensureCollection"]>[1]);
    }
    return store;
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}
