import { readFile } from "node:fs/promises";
import { isSiltError } from "@silt/core";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { PAGES, pageWords } from "../../../examples/pages.ts";
import { RECEIPTS, receiptWords } from "../../../examples/receipts.ts";
import { legibleLines } from "./legible-text.ts";
import { closeOcr, type OcrPage, recognizeText } from "./ocr.ts";
import { prepareImage } from "./prepare-image.ts";

const READ_MS = 30_000;
const folder = new URL("../../../examples/images/", import.meta.url);

async function prepareExample(file: string) {
  return await prepareImage({ name: file, bytes: await readFile(new URL(file, folder)) });
}

/** Share of the expected words that were read, each read word counted once. */
function wordRecall(page: OcrPage, expected: readonly string[]): number {
  const read = legibleLines(page).flatMap((line) => line.words.map((word) => word.text));
  const found = expected.filter((word) => {
    const at = read.indexOf(word);
    if (at >= 0) read.splice(at, 1);
    return at >= 0;
  });
  return found.length / expected.length;
}

afterAll(closeOcr);

describe("recognizeText()", { timeout: READ_MS }, () => {
  it.each(RECEIPTS.map((receipt) => [receipt.file, receiptWords(receipt)] as const))(
    "reads at least 9 of 10 words of %s",
    async (file, words) => {
      const page = await recognizeText(await prepareExample(file));
      expect(wordRecall(page, words)).toBeGreaterThanOrEqual(0.9);
    },
  );

  it.each(PAGES.map((page) => [page.file, pageWords(page)] as const))(
    "reads at least 9 of 10 words of %s",
    async (file, words) => {
      const page = await recognizeText(await prepareExample(file));
      expect(wordRecall(page, words)).toBeGreaterThanOrEqual(0.9);
    },
  );

  it("gives lines and words in reading order with boxes inside the upright page", async () => {
    const file = "receipt-green-basket.jpg";
    const stored = await sharp(await readFile(new URL(file, folder))).metadata();
    const page = await recognizeText(await prepareExample(file));
    expect([page.width, page.height]).toEqual([stored.height, stored.width]);
    const shop = page.lines[0]?.words[0];
    expect(shop?.text).toBe("Green");
    let bottom = 0;
    for (const line of page.lines) {
      expect(line.box.y).toBeGreaterThan(bottom - 5);
      bottom = line.box.y + line.box.height;
      for (const { box, confidence } of line.words) {
        expect(box.x).toBeGreaterThanOrEqual(0);
        expect(box.x + box.width).toBeLessThanOrEqual(page.width);
        expect(box.y + box.height).toBeLessThanOrEqual(page.height);
        expect(Math.min(box.width, box.height)).toBeGreaterThan(0);
        expect(confidence).toBeLessThanOrEqual(100);
      }
    }
    expect(bottom).toBeLessThanOrEqual(page.height);
  });

  it("draws its boxes where the words are: a box cut out reads the same word", async () => {
    const image = await prepareExample("receipt-night-train.jpg");
    const page = await recognizeText(image);
    const word = page.lines.flatMap((line) => line.words).find(({ text }) => text === "sandwich");
    if (word === undefined) throw new Error("the word was not read");
    const { x, y, width, height } = word.box;
    const cut = await sharp(image.bytes)
      .extract({ left: x - 8, top: y - 8, width: width + 16, height: height + 16 })
      .extend({ top: 30, bottom: 30, left: 30, right: 30, background: "white" })
      .png()
      .toBuffer();
    const again = await recognizeText(await prepareImage({ name: "cut", bytes: cut }));
    expect(again.lines.map((line) => line.text)).toEqual(["sandwich"]);
  });

  it.each(["alps", "boats", "canyon", "farmhouse", "lily-leek", "aeroplane"])(
    "leaves no legible line on the photograph %s",
    async (name) => {
      const page = await recognizeText(await prepareExample(`photo-${name}.jpg`));
      expect(legibleLines(page)).toEqual([]);
    },
  );

  it("gives no lines for blank and for tiny pictures", async () => {
    for (const side of [1, 2, 300]) {
      const create = { width: side, height: side, channels: 3, background: "white" } as const;
      const bytes = await sharp({ create }).png().toBuffer();
      const page = await recognizeText(await prepareImage({ name: "blank", bytes }));
      expect(page).toEqual({ width: side, height: side, lines: [] });
    }
  });

  it("survives garbage that reaches the engine, and reads the next picture", async () => {
    const image = await prepareExample("page-lost-cat.png");
    const failure = recognizeText({ ...image, name: "bad", bytes: Buffer.from("garbage") });
    await expect(failure).rejects.toThrow('Cannot recognize text in "bad"');
    await expect(failure).rejects.toSatisfy((error) => isSiltError(error, "unavailable"));
    const page = await recognizeText(image);
    expect(page.lines[0]?.text).toBe("Lost cat");
  });

  it("ends an engine that takes too long, and starts another", async () => {
    const image = await prepareExample("page-lost-cat.png");
    await recognizeText(image);
    const failure = recognizeText(image, { msMax: 1 });
    await expect(failure).rejects.toThrow(/took over 1 ms/);
    await expect(failure).rejects.toSatisfy((error) => isSiltError(error, "unavailable"));
    expect((await recognizeText(image)).lines).toHaveLength(7);
  });

  it("reports an engine that dies at work, and starts another", async () => {
    const image = await prepareExample("page-lost-cat.png");
    await recognizeText(image);
    const dying = recognizeText(image);
    const killed = expect(dying).rejects.toThrow(/the engine ended/);
    // After the turn has begun: the engine is already there.
    await new Promise((resolve) => setImmediate(resolve));
    await closeOcr();
    await killed;
    expect((await recognizeText(image)).lines).toHaveLength(7);
  });

  it("stops at once for an aborted caller, before and during work", async () => {
    const image = await prepareExample("page-lost-cat.png");
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(recognizeText(image, { signal })).rejects.toThrow("enough");
    const controller = new AbortController();
    const working = expect(recognizeText(image, { signal: controller.signal })).rejects.toThrow(
      "enough",
    );
    controller.abort(new Error("enough"));
    await working;
  });

  it("lets one caller leave the queue without harm to the others", async () => {
    const image = await prepareExample("page-lost-cat.png");
    const controller = new AbortController();
    const first = recognizeText(image);
    const second = recognizeText(image, { signal: controller.signal });
    const third = recognizeText(image);
    const left = expect(second).rejects.toThrow("enough");
    controller.abort(new Error("enough"));
    expect((await first).lines).toHaveLength(7);
    await left;
    expect((await third).lines).toHaveLength(7);
  });

  it("serves callers at the same time one after the other", async () => {
    const files = ["page-lost-cat.png", "page-timetable.png", "page-lost-cat.png"];
    const pages = await Promise.all(
      files.map(async (file) => await recognizeText(await prepareExample(file))),
    );
    expect(pages.map((page) => page.lines[0]?.text)).toEqual([
      "Lost cat",
      "Ferry timetable",
      "Lost cat",
    ]);
  });
});
