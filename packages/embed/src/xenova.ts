import { existsSync } from "node:fs";
import { join, parse, relative } from "node:path";
import { reasonOf, SiltError } from "@silt/core";
import type { PreTrainedModel, PreTrainedTokenizer, Processor } from "@xenova/transformers";
import type { Embedder, ImageInput } from "./embedder.ts";
import type { EmbedderId } from "./embedder-id.ts";
import { prepareImage } from "./prepare-image.ts";
import { quietly } from "./quietly.ts";
import { runModel } from "./run-model.ts";
import { checkTexts } from "./text-input.ts";

/** The only module that loads `@xenova/transformers`, an optional dependency with an old tree. */
type Transformers = typeof import("@xenova/transformers");
export type XenovaId = Extract<EmbedderId, { kind: "hub" | "folder" }>;

const TEXTS_PER_CALL = 16;

/** Where a model comes from, as the library wants it. */
interface ModelSource {
  readonly name: string;
  readonly options: { readonly quantized: boolean; readonly local_files_only: boolean };
}

/**
 * A model of the hub, or of a folder laid out like one (config.json, tokenizer.json, onnx/).
 * CLIP models embed texts and pictures into one space; all others are sentence encoders with mean
 * pooling. Throws `unavailable` when the package or the model can't be had.
 */
export async function openXenova(id: XenovaId): Promise<Embedder> {
  const transformers = await importTransformers(id.id);
  try {
    return await quietly(async () => {
      const source = sourceOf(id, transformers);
      const config = await transformers.AutoConfig.from_pretrained(source.name, source.options);
      return config.model_type === "clip"
        ? await openClip(id.id, source, transformers)
        : await openSentenceEncoder(id.id, source, transformers);
    });
  } catch (error) {
    throw notReachable(id, error);
  }
}

async function importTransformers(id: string): Promise<Transformers> {
  try {
    return await quietly(() => import("@xenova/transformers"));
  } catch (error) {
    throw new SiltError(
      "unavailable",
      `Cannot open embedder "${id}": the optional package @xenova/transformers can't be loaded (${reasonOf(error)}); npm install @xenova/transformers@2.17.2`,
      { cause: error },
    );
  }
}

function sourceOf(id: XenovaId, { env }: Transformers): ModelSource {
  if (id.kind === "hub") {
    return { name: id.model, options: { quantized: true, local_files_only: false } };
  }
  // The library only knows folders below one root.
  const { root } = parse(id.model);
  env.localModelPath = root;
  const quantized = ["model", "text_model"].some((name) =>
    existsSync(join(id.model, "onnx", `${name}_quantized.onnx`)),
  );
  return { name: relative(root, id.model), options: { quantized, local_files_only: true } };
}

function notReachable(id: XenovaId, error: unknown): SiltError {
  const remedy =
    id.kind === "folder"
      ? "expected config.json, tokenizer.json, tokenizer_config.json and onnx/ in that folder"
      : `expected it on huggingface.co; check the name and the network, or download the model and use "xenova:<its folder>"`;
  return new SiltError(
    "unavailable",
    `Cannot open embedder "${id.id}": the model "${id.model}" can't be loaded (${reasonOf(error)}), ${remedy}`,
    { cause: error },
  );
}

async function openSentenceEncoder(
  id: string,
  source: ModelSource,
  { pipeline }: Transformers,
): Promise<Embedder> {
  const extract = await pipeline("feature-extraction", source.name, source.options);
  const embedTexts = (texts: readonly string[]) =>
    inCalls(id, texts, async (batch) => {
      const { data, dims } = await extract(batch, { pooling: "mean", normalize: true });
      return splitRows(data as Float32Array, dims.at(-1) as number);
    });
  const [probe] = await embedTexts(["dimension"]);
  return {
    id,
    dimension: (probe as Float32Array).length,
    modality: "text",
    embedTexts,
    close: async () => void (await extract.dispose()),
  };
}

async function openClip(
  id: string,
  { name, options }: ModelSource,
  transformers: Transformers,
): Promise<Embedder> {
  const { AutoTokenizer, AutoProcessor, RawImage } = transformers;
  const { CLIPTextModelWithProjection, CLIPVisionModelWithProjection } = transformers;
  // A copy for each: the library notes the file name of a model in the options it is given.
  const copy = () => ({ ...options });
  const tokenizer: PreTrainedTokenizer = await AutoTokenizer.from_pretrained(name, copy());
  const processor: Processor = await AutoProcessor.from_pretrained(name, copy());
  const texts: PreTrainedModel = await CLIPTextModelWithProjection.from_pretrained(name, copy());
  const images: PreTrainedModel = await CLIPVisionModelWithProjection.from_pretrained(name, copy());

  const embedTexts = (inputs: readonly string[]) =>
    inCalls(id, inputs, async (batch) => {
      const tokens = tokenizer(batch, { padding: true, truncation: true });
      const { text_embeds } = await texts(tokens);
      return splitRows(text_embeds.data, text_embeds.dims.at(-1)).map(unitOf);
    });
  const embedImage = async (input: ImageInput) => {
    const { bytes } = await prepareImage(input);
    const { default: sharp } = await import("sharp");
    const raw = sharp(bytes).removeAlpha().toColourspace("srgb").raw();
    const { data, info } = await raw.toBuffer({ resolveWithObject: true });
    return await runModel(id, async () => {
      const pixels = new Uint8ClampedArray(data);
      const picture = new RawImage(pixels, info.width, info.height, 3);
      const { image_embeds } = await images(await processor(picture));
      return unitOf(Float32Array.from(image_embeds.data));
    });
  };
  const [probe] = await embedTexts(["dimension"]);
  return {
    id,
    dimension: (probe as Float32Array).length,
    modality: "text+image",
    embedTexts,
    embedImage,
    close: async () => void (await Promise.all([texts.dispose(), images.dispose()])),
  };
}

/** Embeds any number of texts in calls of a bounded size. */
async function inCalls(
  id: string,
  texts: readonly string[],
  call: (batch: string[]) => Promise<readonly Float32Array[]>,
): Promise<readonly Float32Array[]> {
  const inputs = checkTexts(id, texts);
  const vectors: Float32Array[] = [];
  for (let start = 0; start < inputs.length; start += TEXTS_PER_CALL) {
    const batch = inputs.slice(start, start + TEXTS_PER_CALL);
    vectors.push(...(await runModel(id, () => call(batch))));
  }
  return vectors;
}

/** A row-major matrix as its rows, copied: the library reuses its buffers. */
function splitRows(data: Float32Array, dimension: number): Float32Array[] {
  return Array.from({ length: data.length / dimension }, (_, row) =>
    data.slice(row * dimension, (row + 1) * dimension),
  );
}

function unitOf(vector: Float32Array): Float32Array {
  const norm = Math.hypot(...vector);
  return vector.map((component) => component / norm);
}
