import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Just enough of protobuf to write an ONNX model (onnx.proto3, IR version 8, operator set 13). */
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) + 128);
  }
}

const int = (field: number, value: number) => Buffer.from([...varint(field * 8), ...varint(value)]);

function bytes(field: number, value: Uint8Array | string): Buffer {
  const content = Buffer.from(value as string);
  return Buffer.concat([
    Buffer.from([...varint(field * 8 + 2), ...varint(content.length)]),
    content,
  ]);
}

const FLOAT = 1;
const INT64 = 7;

function tensor(name: string, dims: readonly number[], values: Float32Array): Buffer {
  const raw = new Uint8Array(values.buffer);
  const shape = dims.map((dim) => int(1, dim));
  return Buffer.concat([...shape, int(2, FLOAT), bytes(8, name), bytes(9, raw)]);
}

function valueInfo(name: string, elementType: number, axes: readonly string[]): Buffer {
  const shape = Buffer.concat(axes.map((axis) => bytes(1, bytes(2, axis))));
  const type = bytes(1, Buffer.concat([int(1, elementType), bytes(2, shape)]));
  return Buffer.concat([bytes(1, name), bytes(2, type)]);
}

function ints(name: string, values: readonly number[]): Buffer {
  return bytes(5, Buffer.concat([bytes(1, name), ...values.map((v) => int(8, v)), int(20, 7)]));
}

function integer(name: string, value: number): Buffer {
  return bytes(5, Buffer.concat([bytes(1, name), int(3, value), int(20, 2)]));
}

function node(type: string, inputs: string[], output: string, attributes: Buffer[] = []): Buffer {
  const named = inputs.map((input) => bytes(1, input));
  return bytes(1, Buffer.concat([...named, bytes(2, output), bytes(4, type), ...attributes]));
}

function model(nodes: Buffer[], weights: Buffer, input: Buffer, output: Buffer): Buffer {
  const ends = [bytes(11, input), bytes(12, output)];
  const graph = Buffer.concat([...nodes, bytes(2, "tiny"), bytes(5, weights), ...ends]);
  return Buffer.concat([int(1, 8), bytes(7, graph), bytes(8, int(2, 13))]);
}

/** Weights without meaning, but the same each time and spread over all directions. */
function weights(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin((i + 1) ** 2 * 0.7) * 0.5);
}

const WORDS = ["[PAD]", "[UNK]", "coffee", "tea", "train", "river", "book", "total", "two"];
const DIMENSION = 8;

const TOKENIZER = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: ["[PAD]", "[UNK]"].map((content, id) => ({ id, content, special: true })),
  normalizer: { type: "BertNormalizer", clean_text: true, lowercase: true, strip_accents: null },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: null,
  decoder: null,
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
  },
};

async function writeModelFolder(folder: string, config: object, files: Record<string, Buffer>) {
  await mkdir(join(folder, "onnx"), { recursive: true });
  const tokens = { tokenizer_class: "BertTokenizer", pad_token: "[PAD]", unk_token: "[UNK]" };
  const json: Record<string, object> = {
    "config.json": config,
    "tokenizer.json": TOKENIZER,
    "tokenizer_config.json": { ...tokens, model_max_length: 64 },
    "preprocessor_config.json": {
      feature_extractor_type: "CLIPFeatureExtractor",
      do_resize: true,
      size: 32,
      do_center_crop: true,
      crop_size: 32,
      do_normalize: true,
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.5, 0.5, 0.5],
    },
  };
  for (const [name, content] of Object.entries(json)) {
    await writeFile(join(folder, name), JSON.stringify(content));
  }
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, "onnx", name), content);
  }
}

const TABLE = tensor("table", [WORDS.length, DIMENSION], weights(WORDS.length * DIMENSION));
const IDS = valueInfo("input_ids", INT64, ["batch", "tokens"]);

/** A sentence encoder of 9 words and 8 dimensions: a table of word vectors. */
export async function writeTinyTextModel(folder: string): Promise<void> {
  const lookup = node("Gather", ["table", "input_ids"], "last_hidden_state");
  const output = valueInfo("last_hidden_state", FLOAT, ["batch", "tokens", "width"]);
  const onnx = model([lookup], TABLE, IDS, output);
  await writeModelFolder(
    folder,
    { model_type: "bert", architectures: ["BertModel"], hidden_size: DIMENSION },
    { "model_quantized.onnx": onnx },
  );
}

/** A CLIP of 8 dimensions: mean word vectors for text, one convolution for pictures. Not quantized. */
export async function writeTinyClipModel(folder: string): Promise<void> {
  const texts = model(
    [
      node("Gather", ["table", "input_ids"], "words"),
      node("ReduceMean", ["words"], "text_embeds", [ints("axes", [1]), integer("keepdims", 0)]),
    ],
    TABLE,
    IDS,
    valueInfo("text_embeds", FLOAT, ["batch", "width"]),
  );
  const kernel = [DIMENSION, 3, 8, 8];
  const images = model(
    [
      node("Conv", ["pixel_values", "kernel"], "cells", [
        ints("kernel_shape", [8, 8]),
        ints("strides", [8, 8]),
      ]),
      node("GlobalAveragePool", ["cells"], "pooled"),
      node("Flatten", ["pooled"], "image_embeds", [integer("axis", 1)]),
    ],
    tensor("kernel", kernel, weights(DIMENSION * 3 * 8 * 8)),
    valueInfo("pixel_values", FLOAT, ["batch", "channels", "height", "width"]),
    valueInfo("image_embeds", FLOAT, ["batch", "width"]),
  );
  await writeModelFolder(
    folder,
    { model_type: "clip", architectures: ["CLIPModel"], projection_dim: DIMENSION },
    { "text_model.onnx": texts, "vision_model.onnx": images },
  );
}
