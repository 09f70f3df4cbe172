import { statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { SiltError } from "@silt/core";
import { closestOf } from "./closest-of.ts";
import type { Modality } from "./embedder.ts";

/** What an embedder id names. `id` is the full id, as stored with a collection. */
export type EmbedderId =
  | { readonly kind: "use-lite"; readonly id: "use-lite" }
  | { readonly kind: "image-descriptor"; readonly id: "image-descriptor" }
  /** `model` is a hub name such as `Xenova/all-MiniLM-L6-v2`, or an absolute folder. */
  | { readonly kind: "hub"; readonly id: string; readonly model: string }
  | { readonly kind: "folder"; readonly id: string; readonly model: string };

/** Short names of hub models. Stored ids are always the full ones. */
export const XENOVA_ALIASES: Readonly<Record<string, string>> = {
  text: "Xenova/all-MiniLM-L6-v2",
  clip: "Xenova/clip-vit-base-patch32",
};

/** Known without loading. A hub model that is not listed must be loaded to be known. */
export const KNOWN_EMBEDDERS: Readonly<
  Record<string, { readonly dimension: number; readonly modality: Modality }>
> = {
  "use-lite": { dimension: 512, modality: "text" },
  "image-descriptor": { dimension: 512, modality: "image" },
  "xenova:Xenova/all-MiniLM-L6-v2": { dimension: 384, modality: "text" },
  "xenova:Xenova/all-MiniLM-L12-v2": { dimension: 384, modality: "text" },
  "xenova:Xenova/all-mpnet-base-v2": { dimension: 768, modality: "text" },
  "xenova:Xenova/clip-vit-base-patch32": { dimension: 512, modality: "text+image" },
  "xenova:Xenova/clip-vit-base-patch16": { dimension: 512, modality: "text+image" },
  "xenova:Xenova/clip-vit-large-patch14": { dimension: 768, modality: "text+image" },
};

/** What a user may type, for messages and help. */
export const EMBEDDER_IDS = [
  "use-lite",
  "image-descriptor",
  "xenova:text",
  "xenova:clip",
  "xenova:<hub model>",
  "xenova:<folder>",
] as const;

const HUB_MODEL = /^[\w.-]+\/[\w.-]+$/;

/** Parses an id; `xenova:` aliases and relative folders become full. Throws `invalid`. */
export function parseEmbedderId(id: string): EmbedderId {
  if (id === "use-lite" || id === "image-descriptor") return { kind: id, id } as EmbedderId;
  if (!id.startsWith("xenova:")) throw unknownEmbedder(id);
  const model = id.slice("xenova:".length);
  const hub = Object.hasOwn(XENOVA_ALIASES, model) ? XENOVA_ALIASES[model] : model;
  if (isAbsolute(model) || model.startsWith("./") || model.startsWith("../")) {
    return parseFolder(id, resolve(model));
  }
  if (hub === undefined || !HUB_MODEL.test(hub)) throw unknownEmbedder(id);
  return { kind: "hub", id: `xenova:${hub}`, model: hub };
}

function parseFolder(id: string, folder: string): EmbedderId {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new SiltError(
      "invalid",
      `Cannot open embedder "${id}": there is no folder "${folder}", expected one with config.json, tokenizer.json and onnx/`,
    );
  }
  return { kind: "folder", id: `xenova:${folder}`, model: folder };
}

function unknownEmbedder(id: string): SiltError {
  const near = closestOf(id, EMBEDDER_IDS);
  const hint = near === undefined ? "" : ` (did you mean "${near}"?)`;
  return new SiltError(
    "invalid",
    `Cannot open embedder "${id}": it is unknown${hint}, expected one of ${EMBEDDER_IDS.join(", ")}`,
  );
}
