import { readFile } from "node:fs/promises";
import { distanceOf, isSiltError, parseRecord, type VectorField } from "@silt/core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Embedder } from "./embedder.ts";
import { type ExtractInput, extractImage, RESERVED_METADATA_KEYS } from "./extract-image.ts";
import { closeOcr } from "./ocr.ts";
import { openEmbedder } from "./open-embedder.ts";

const folder = new URL("../../../examples/images/", import.meta.url);
const field: VectorField = {
  name: "embedding",
  dimension: 512,
  encoding: "f32le",
  metric: "cosine",
  embedder: "any",
};
let textEmbedder: Embedder;
let imageEmbedder: Embedder;

beforeAll(async () => {
  textEmbedder = await openEmbedder("use-lite");
  imageEmbedder = await openEmbedder("image-descriptor");
}, 20_000);
afterAll(async () => {
  await Promise.all([textEmbedder.close(), imageEmbedder.close(), closeOcr()]);
});

async function extract(file: string, more: Partial<ExtractInput> = {}) {
  const bytes = await readFile(new URL(file, folder));
  const uri = `file:///shop%20a/${file}`;
  return await extractImage({ uri, bytes, pipeline: "auto", textEmbedder, imageEmbedder, ...more });
}

async function embedText(text: string): Promise<Float32Array> {
  const [vector] = (await textEmbedder.embedTexts?.([text])) ?? [];
  if (vector === undefined) throw new Error("no vector");
  return vector;
}

describe("extractImage()", { timeout: 30_000 }, () => {
  it("makes records that every collection takes: lines, words and one image", async () => {
    const result = await extract("receipt-kino-cafe.png", {
      metadata: { shop: "Kino", year: 2026 },
    });
    expect(result.lines).toHaveLength(9);
    expect(result.images).toHaveLength(1);
    const uri = "file:///shop%20a/receipt-kino-cafe.png";
    const all = [...result.lines, ...result.words, ...result.images];
    for (const record of all) {
      expect(record.parent).toBe(uri);
      expect(record.metadata).toMatchObject({
        shop: "Kino",
        year: 2026,
        file: "receipt-kino-cafe.png",
      });
      expect(Math.hypot(...record.embedding)).toBeCloseTo(1, 4);
      expect(parseRecord(record, field, 4).id).toBe(record.id);
    }
    expect(new Set(all.map((record) => record.id)).size).toBe(all.length);
    expect(result.lines[3]).toMatchObject({
      id: `${uri}#line-0004`,
      document: "Flat white 3.80",
      metadata: { kind: "line", line: 4, position: 4 },
    });
    expect(result.images[0]).toMatchObject({
      id: `${uri}#image`,
      document: "receipt-kino-cafe.png",
      metadata: { kind: "image" },
    });
  });

  it("places each word within its line, its page and the reading order", async () => {
    const { lines, words } = await extract("receipt-kino-cafe.png", { pipeline: "text" });
    expect(words.map((word) => word.metadata.position)).toEqual(words.map((_, index) => index + 1));
    for (const { metadata: word, document } of words) {
      const line = lines.find(({ metadata }) => metadata.line === word.line);
      expect(line?.document).toContain(document);
      for (const [start, size] of [
        ["x", "width"],
        ["y", "height"],
      ] as const) {
        const end = (word[start] as number) + (word[size] as number);
        const lineEnd = (line?.metadata[start] as number) + (line?.metadata[size] as number);
        expect(word[start]).toBeGreaterThanOrEqual(line?.metadata[start] as number);
        expect(end).toBeLessThanOrEqual(lineEnd);
        expect(end).toBeLessThanOrEqual(word[`page_${size}`] as number);
      }
    }
  });

  it("makes only what the pipeline names", async () => {
    const text = await extract("page-lost-cat.png", { pipeline: "text" });
    expect([text.lines.length > 0, text.words.length > 0, text.images.length]).toEqual([
      true,
      true,
      0,
    ]);
    const image = await extract("page-lost-cat.png", { pipeline: "image" });
    expect([image.lines, image.words, image.images.length]).toEqual([[], [], 1]);
  });

  it("finds no text on a photograph and says what it left out", async () => {
    const { lines, words, images, warnings } = await extract("photo-canyon.jpg");
    expect([lines, words, images.length]).toEqual([[], [], 1]);
    expect(warnings.join()).toMatch(/left out \d+ marks/);
  });

  it("finds a line by what it means, before the lines around it", async () => {
    const { lines } = await extract("page-lentil-soup.png", {
      context: "recipes from the kitchen",
    });
    const query = await embedText("how long must it cook?");
    const ranked = lines
      .map(({ document, embedding }) => ({
        document,
        distance: distanceOf("cosine", query, embedding),
      }))
      .sort((a, b) => a.distance - b.distance);
    expect(ranked.slice(0, 2).map(({ document }) => document)).toContain(
      "for twenty minutes. Serve with lemon.",
    );
  });

  it("embeds the context with every text without drowning it", async () => {
    const plain = await extract("page-opening-hours.png", { pipeline: "text" });
    const told = await extract("page-opening-hours.png", {
      pipeline: "text",
      context: "the cinema by the sea",
    });
    const context = await embedText("the cinema by the sea");
    for (const [index, { document, embedding }] of told.lines.entries()) {
      const without = plain.lines[index]?.embedding as Float32Array;
      expect(distanceOf("cosine", embedding, context)).toBeLessThan(
        distanceOf("cosine", without, context),
      );
      const own = await embedText(document);
      expect(distanceOf("cosine", embedding, own)).toBeLessThan(0.15);
      expect(distanceOf("cosine", embedding, own)).toBeLessThan(
        distanceOf("cosine", embedding, context),
      );
    }
    const blank = await extract("page-opening-hours.png", { pipeline: "text", context: "  " });
    expect(blank.lines[0]?.embedding).toEqual(plain.lines[0]?.embedding);
  });

  it("gives the same records each time", async () => {
    const again = await extract("receipt-velo-workshop.jpg");
    expect(await extract("receipt-velo-workshop.jpg")).toEqual(again);
  });

  it("refuses garbage as invalid and extracts the next picture", async () => {
    const bad = extract("receipt-kino-cafe.png", { bytes: Buffer.from("garbage") });
    await expect(bad).rejects.toThrow('Cannot read image "receipt-kino-cafe.png": ');
    await expect(bad).rejects.toSatisfy((error) => isSiltError(error, "invalid"));
    expect((await extract("receipt-kino-cafe.png")).lines).toHaveLength(9);
  });

  it.each(RESERVED_METADATA_KEYS)("refuses metadata with the reserved key %s", async (key) => {
    const failure = extract("page-lost-cat.png", { metadata: { [key]: "mine" } });
    await expect(failure).rejects.toThrow(`metadata key "${key}" is reserved`);
    await expect(failure).rejects.toSatisfy((error) => isSiltError(error, "invalid"));
  });

  it("writes no metadata key that is not reserved", async () => {
    const { lines, words, images } = await extract("receipt-kino-cafe.png");
    const keys = [...lines, ...words, ...images].flatMap(({ metadata }) => Object.keys(metadata));
    expect([...new Set(keys)].sort()).toEqual([...RESERVED_METADATA_KEYS].sort());
  });

  it("refuses a URI that is too long for an id, and an embedder of the wrong kind", async () => {
    await expect(extract("page-lost-cat.png", { uri: "x".repeat(1_020) })).rejects.toThrow(
      /1024 bytes/,
    );
    await expect(extract("page-lost-cat.png", { imageEmbedder: textEmbedder })).rejects.toThrow(
      /Cannot embed pictures with "use-lite"/,
    );
    await expect(extract("page-lost-cat.png", { textEmbedder: imageEmbedder })).rejects.toThrow(
      /Cannot embed text with "image-descriptor"/,
    );
  });

  it("names the file by its URI, decoded where that gives a name", async () => {
    const fileOf = async (uri: string) =>
      (await extract("photo-boats.jpg", { uri, pipeline: "image" })).images[0]?.metadata.file;
    expect(await fileOf("file:///shop/two%20coffees.png")).toBe("two coffees.png");
    expect(await fileOf("s3://bucket/100%.png")).toBe("100%.png");
    expect(await fileOf("s3://bucket/a%00b.png")).toBe("a%00b.png");
  });

  it("stops for an aborted caller", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(extract("page-lost-cat.png", { signal })).rejects.toThrow("enough");
  });

  it("warns when a picture was read smaller than it is", async () => {
    const large = {
      create: { width: 5_000, height: 2_000, channels: 3, background: "white" },
    } as const;
    const bytes = await sharp(large).png().toBuffer();
    const { warnings } = await extract("page-lost-cat.png", { bytes, pipeline: "image" });
    expect(warnings).toEqual([expect.stringMatching(/^read at \d+x\d+ pixels, 5000x2000 is over/)]);
  });
});
