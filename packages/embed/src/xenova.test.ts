import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSiltError } from "@silt/core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Embedder } from "./embedder.ts";
import { describeEmbedder, openEmbedder } from "./open-embedder.ts";
import { writeTinyClipModel, writeTinyTextModel } from "./tiny-model.fixture.ts";

const LOAD_MS = 20_000;
let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "silt-xenova-"));
  await writeTinyTextModel(join(root, "text"));
  await writeTinyClipModel(join(root, "clip"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function embed(
  embedder: Embedder,
  texts: readonly string[],
): Promise<readonly Float32Array[]> {
  if (embedder.embedTexts === undefined) throw new Error("it takes no texts");
  return await embedder.embedTexts(texts);
}

const dot = (a: Float32Array, b: Float32Array) =>
  a.reduce((sum, component, index) => sum + component * (b[index] as number), 0);

async function solid(background: string): Promise<Buffer> {
  return await sharp({ create: { width: 64, height: 48, channels: 3, background } })
    .png()
    .toBuffer();
}

describe("openEmbedder() of a xenova folder", () => {
  it(
    "embeds sentences through the real pipeline: mean of the word vectors, at length 1",
    async () => {
      const id = `xenova:${join(root, "text")}`;
      const embedder = await openEmbedder(id);
      expect(embedder).toMatchObject({ id, dimension: 8, modality: "text" });
      expect(embedder.embedImage).toBeUndefined();
      const texts = ["coffee", "coffee coffee", "coffee tea", "train", "tea coffee"];
      const [one, twice, both, train, swapped] = await embed(embedder, texts);
      if (!one || !twice || !both || !train || !swapped) throw new Error("a vector is missing");
      expect(dot(one, one)).toBeCloseTo(1, 5);
      expect(dot(one, twice)).toBeCloseTo(1, 5);
      expect(dot(both, swapped)).toBeCloseTo(1, 5);
      expect(dot(one, both)).toBeGreaterThan(dot(one, train));
      expect(dot(one, train)).toBeLessThan(0.99);
      await embedder.close();
    },
    LOAD_MS,
  );

  it(
    "gives a text the same vector alone and in a long list, whatever shares its call",
    async () => {
      const embedder = await openEmbedder(`xenova:${join(root, "text")}`);
      const many = Array.from({ length: 50 }, (_, i) => (i % 2 ? "river" : "two book total tea"));
      const vectors = await embed(embedder, many);
      const [alone] = await embed(embedder, ["river"]);
      expect(vectors).toHaveLength(50);
      expect(dot(vectors[49] as Float32Array, alone as Float32Array)).toBeCloseTo(1, 5);
      await embedder.close();
    },
    LOAD_MS,
  );

  it(
    "embeds texts and pictures with a CLIP model that is not quantized",
    async () => {
      const id = `xenova:${join(root, "clip")}`;
      const embedder = await openEmbedder(id);
      expect(embedder).toMatchObject({ id, dimension: 8, modality: "text+image" });
      const picture = async (colour: string) =>
        (await embedder.embedImage?.({
          name: colour,
          bytes: await solid(colour),
        })) as Float32Array;
      const [red, redAgain, blue] = [
        await picture("red"),
        await picture("#fe0000"),
        await picture("blue"),
      ];
      expect(dot(red, red)).toBeCloseTo(1, 5);
      expect(dot(red, redAgain)).toBeGreaterThan(0.999);
      expect(dot(red, blue)).toBeLessThan(0.9);
      const [text] = await embed(embedder, ["two coffee"]);
      expect(text).toHaveLength(8);
      await embedder.close();
    },
    LOAD_MS,
  );

  it("describes a folder from its config.json, without its model", async () => {
    const id = `xenova:${join(root, "clip")}`;
    expect(await describeEmbedder(id)).toEqual({ id, dimension: 8, modality: "text+image" });
  });

  it(
    "refuses a folder without a model as unavailable, naming it and what it must hold",
    async () => {
      const empty = await mkdtemp(join(root, "empty-"));
      const failure = openEmbedder(`xenova:${empty}`);
      await expect(failure).rejects.toThrow(/Cannot open embedder .*empty-.*tokenizer\.json/);
      await expect(failure).rejects.toSatisfy((error) => isSiltError(error, "unavailable"));
    },
    LOAD_MS,
  );

  it(
    "says what to do when the hub is out of reach, and does not remember the failure",
    async () => {
      const { env } = await import("@xenova/transformers");
      const hub = env.remoteHost;
      const asked = vi.spyOn(globalThis, "fetch").mockRejectedValue(new TypeError("fetch failed"));
      env.remoteHost = "http://127.0.0.1:9/";
      try {
        const open = () => openEmbedder("xenova:Xenova/no-such-model-here");
        await expect(open()).rejects.toThrow(/huggingface\.co.*download the model/);
        const first = asked.mock.calls.length;
        expect(first).toBeGreaterThan(0);
        await expect(open()).rejects.toSatisfy((error) => isSiltError(error, "unavailable"));
        expect(asked.mock.calls.length).toBeGreaterThan(first);
      } finally {
        env.remoteHost = hub;
        asked.mockRestore();
      }
    },
    LOAD_MS,
  );
});
