import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { OCR_ENGINE } from "./ocr-engine.ts";
import { pipelineId } from "./pipeline-id.ts";

const both = { textEmbedder: "use-lite", imageEmbedder: "image-descriptor" } as const;

it("differs for every setting that changes the records", () => {
  const ids = [
    pipelineId({ ...both, pipeline: "auto" }),
    pipelineId({ ...both, pipeline: "text" }),
    pipelineId({ ...both, pipeline: "image" }),
    pipelineId({ ...both, pipeline: "auto", textEmbedder: "xenova:text" }),
    pipelineId({ ...both, pipeline: "auto", imageEmbedder: "xenova:clip" }),
  ];
  expect(new Set(ids).size).toBe(ids.length);
});

it("is the same for settings that change nothing", () => {
  const id = pipelineId({ ...both, pipeline: "image" });
  expect(pipelineId({ ...both, pipeline: "image", textEmbedder: "xenova:text" })).toBe(id);
  expect(pipelineId({ ...both, pipeline: "text", imageEmbedder: "xenova:clip" })).toBe(
    pipelineId({ ...both, pipeline: "text" }),
  );
  const full = "xenova:Xenova/clip-vit-base-patch32";
  expect(pipelineId({ ...both, pipeline: "image", imageEmbedder: "xenova:clip" })).toBe(
    pipelineId({ ...both, pipeline: "image", imageEmbedder: full }),
  );
});

it("names the versions of the text recognition that are installed", () => {
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const { "tesseract.js": engine, "@tesseract.js-data/eng": language } = manifest.dependencies;
  expect(OCR_ENGINE).toContain(`tesseract.js-${engine}/eng-${language}-`);
});
