import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { reasonOf, SiltError } from "@silt/core";
import type { Embedder, EmbedderDescription } from "./embedder.ts";
import { type EmbedderId, KNOWN_EMBEDDERS, parseEmbedderId } from "./embedder-id.ts";

/** A model in memory and how many have it open. */
interface LoadedEmbedder {
  readonly embedder: Promise<Embedder>;
  users: number;
}

/** By full id. A model is loaded once per process, whoever asks; a failed load is forgotten. */
const loaded = new Map<string, LoadedEmbedder>();

/**
 * Opens an embedder and loads its model unless it is loaded. Throws `invalid` for an unknown id,
 * `unavailable` when the package or the model can't be had. Close it after use.
 */
export async function openEmbedder(id: string): Promise<Embedder> {
  const parsed = parseEmbedderId(id);
  const entry = loaded.get(parsed.id) ?? { embedder: load(parsed), users: 0 };
  loaded.set(parsed.id, entry);
  entry.users++;
  try {
    return sharedEmbedder(await entry.embedder, entry);
  } catch (error) {
    forget(parsed.id, entry);
    throw error;
  }
}

/** The caller's own handle of a shared model: closing it twice counts once. */
function sharedEmbedder(embedder: Embedder, entry: LoadedEmbedder): Embedder {
  let open = true;
  const close = async () => {
    if (!open) return;
    open = false;
    if (--entry.users > 0) return;
    forget(embedder.id, entry);
    await embedder.close();
  };
  return { ...embedder, close };
}

function forget(id: string, entry: LoadedEmbedder): void {
  if (loaded.get(id) === entry) loaded.delete(id);
}

async function load(id: EmbedderId): Promise<Embedder> {
  switch (id.kind) {
    case "use-lite":
      return await (await import("./use-lite.ts")).openUseLite();
    case "image-descriptor":
      return await (await import("./image-descriptor.ts")).openImageDescriptor();
    case "hub":
    case "folder":
      return await (await import("./xenova.ts")).openXenova(id);
  }
}

/**
 * Full id, dimension and modality. No model is loaded for the known ids, nor for a folder, whose
 * config.json tells; any other hub model is loaded once to see. Throws like {@link openEmbedder}.
 */
export async function describeEmbedder(id: string): Promise<EmbedderDescription> {
  const parsed = parseEmbedderId(id);
  const known = KNOWN_EMBEDDERS[parsed.id];
  if (known !== undefined) return { id: parsed.id, ...known };
  if (parsed.kind === "folder") return await describeFolder(parsed.id, parsed.model);
  const embedder = await openEmbedder(id);
  await embedder.close();
  return { id: embedder.id, dimension: embedder.dimension, modality: embedder.modality };
}

async function describeFolder(id: string, folder: string): Promise<EmbedderDescription> {
  try {
    const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
    const isClip = config.model_type === "clip";
    const dimension = isClip ? (config.projection_dim ?? 512) : (config.hidden_size ?? config.dim);
    if (!Number.isInteger(dimension)) throw new Error("config.json has no hidden_size");
    return { id, dimension, modality: isClip ? "text+image" : "text" };
  } catch (error) {
    throw new SiltError(
      "invalid",
      `Cannot open embedder "${id}": ${reasonOf(error)}, expected a model folder with config.json`,
      { cause: error },
    );
  }
}
