import { isAbsolute } from "node:path";
import { isSiltError } from "@silt/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Embedder } from "./embedder.ts";
import { parseEmbedderId } from "./embedder-id.ts";
import { describeEmbedder, openEmbedder } from "./open-embedder.ts";
import { TEXT_CHARS_MAX } from "./text-input.ts";

const dot = (a: Float32Array | undefined, b: Float32Array | undefined) => {
  if (a === undefined || b === undefined) throw new Error("a vector is missing");
  return a.reduce((sum, component, index) => sum + component * (b[index] as number), 0);
};

describe("parseEmbedderId()", () => {
  it("stores the full id of an alias", () => {
    expect(parseEmbedderId("xenova:text").id).toBe("xenova:Xenova/all-MiniLM-L6-v2");
    expect(parseEmbedderId("xenova:clip").id).toBe("xenova:Xenova/clip-vit-base-patch32");
    expect(parseEmbedderId("xenova:Xenova/bge-small-en-v1.5").id).toBe(
      "xenova:Xenova/bge-small-en-v1.5",
    );
  });

  it("makes a relative folder absolute", () => {
    const { kind, id } = parseEmbedderId("xenova:./");
    expect(kind).toBe("folder");
    expect(isAbsolute(id.slice("xenova:".length))).toBe(true);
  });

  it.each(["use-light", "xenova:", "xenova:constructor", "clip", "", "xenova:/no/such/folder"])(
    'refuses "%s" as invalid',
    (id) => {
      expect(() => parseEmbedderId(id)).toThrow(/^Cannot open embedder /);
      try {
        parseEmbedderId(id);
      } catch (error) {
        expect(isSiltError(error, "invalid")).toBe(true);
      }
    },
  );

  it("suggests what was meant and lists what there is", () => {
    expect(() => parseEmbedderId("uselite")).toThrow(/did you mean "use-lite".*image-descriptor/);
    expect(() => parseEmbedderId("zzzzzzzz")).not.toThrow(/did you mean/);
  });
});

describe("describeEmbedder()", () => {
  it("knows the built-in and default models without loading them", async () => {
    expect(await describeEmbedder("use-lite")).toEqual({
      id: "use-lite",
      dimension: 512,
      modality: "text",
    });
    expect(await describeEmbedder("image-descriptor")).toMatchObject({
      dimension: 512,
      modality: "image",
    });
    expect(await describeEmbedder("xenova:text")).toEqual({
      id: "xenova:Xenova/all-MiniLM-L6-v2",
      dimension: 384,
      modality: "text",
    });
    expect(await describeEmbedder("xenova:clip")).toMatchObject({
      dimension: 512,
      modality: "text+image",
    });
  });
});

describe("openEmbedder()", () => {
  it("loads once for all users and frees the model with the last", {
    timeout: 20_000,
  }, async () => {
    const open = () => openEmbedder("use-lite");
    const [one, two] = await Promise.all([open(), open()]);
    expect(one.embedTexts).toBe(two.embedTexts);
    await one.close();
    await one.close();
    const three = await open();
    expect(three.embedTexts).toBe(two.embedTexts);
    await two.close();
    await three.close();
    const four = await open();
    expect(four.embedTexts).not.toBe(two.embedTexts);
    await four.close();
  });
});

describe("use-lite", () => {
  let embedder: Embedder;
  beforeAll(async () => {
    embedder = await openEmbedder("use-lite");
  }, 20_000);
  afterAll(() => embedder.close());
  const embed = async (texts: readonly string[]) => (await embedder.embedTexts?.(texts)) ?? [];

  it("puts related sentences nearer than unrelated ones", { timeout: 20_000 }, async () => {
    const pairs = [
      ["How much is a cup of coffee?", "What does an espresso cost?"],
      ["The train leaves at seven", "Departure of the railway is at 7 o'clock"],
      ["My cat is ill", "The kitten needs a vet"],
    ];
    const vectors = await embed(pairs.flat());
    for (let i = 0; i < pairs.length; i++) {
      const related = dot(vectors[2 * i], vectors[2 * i + 1]);
      const unrelated = dot(vectors[2 * i], vectors[(2 * i + 3) % 6]);
      expect(related).toBeGreaterThan(unrelated + 0.1);
    }
  });

  it("gives 512 components of length 1", async () => {
    const [vector] = await embed(["two coffees"]);
    expect(vector).toHaveLength(512);
    expect(dot(vector, vector)).toBeCloseTo(1, 4);
  });

  it("embeds a long list in order, each text as if alone", { timeout: 20_000 }, async () => {
    const texts = Array.from({ length: 70 }, (_, i) => `item ${i} of the long list`);
    const vectors = await embed(texts);
    expect(vectors).toHaveLength(70);
    for (const index of [0, 31, 32, 69]) {
      const [alone] = await embed([texts[index] as string]);
      expect(dot(vectors[index], alone)).toBeCloseTo(1, 4);
    }
  });

  it("answers an empty list with an empty list", async () => {
    expect(await embed([])).toEqual([]);
  });

  it.each(["", "  ", "\n"])("refuses the blank text %j and says which", async (blank) => {
    const failure = embed(["coffee", blank]);
    await expect(failure).rejects.toThrow('Cannot embed text 2 of 2 with "use-lite": it is blank');
    await expect(failure).rejects.toSatisfy((error) => isSiltError(error, "invalid"));
  });

  it("bounds a very long text and takes odd characters", { timeout: 20_000 }, async () => {
    const long = "coffee and cake ".repeat(60_000);
    const [whole, start, odd] = await embed([
      long,
      long.slice(0, TEXT_CHARS_MAX),
      "\ud800 \u0000 😀",
    ]);
    expect(dot(whole, start)).toBeCloseTo(1, 4);
    expect(odd?.every(Number.isFinite)).toBe(true);
  });

  it("can be opened again after its last user closed it", { timeout: 20_000 }, async () => {
    const [before] = await embed(["two coffees"]);
    await embedder.close();
    embedder = await openEmbedder("use-lite");
    const [after] = await embed(["two coffees"]);
    expect(dot(before, after)).toBeCloseTo(1, 4);
  });

  it("leaves no handlers for uncaught errors on the process", () => {
    const texts = ["uncaughtException", "unhandledRejection"].flatMap((event) =>
      process.listeners(event as never).map(String),
    );
    expect(texts.filter((text) => /ExitStatus|throw reason/.test(text))).toEqual([]);
  });
});
