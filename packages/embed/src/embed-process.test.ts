import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTinyTextModel } from "./tiny-model.fixture.ts";

const INDEX = new URL("./index.ts", import.meta.url).href;
const EXAMPLE = new URL("../../../examples/images/receipt-kino-cafe.png", import.meta.url).href;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "silt-embed-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs a module in a process of its own, in an empty folder, until it ends by itself. */
async function run(source: string): Promise<{ stdout: string; stderr: string }> {
  const args = ["--input-type=module", "--eval", source];
  return await promisify(execFile)(process.execPath, args, { cwd: folder, timeout: 60_000 });
}

describe("importing @silt/embed", { timeout: 60_000 }, () => {
  it("loads none of the heavy packages", async () => {
    const { stdout } = await run(`
      import { registerHooks } from "node:module";
      const urls = [];
      registerHooks({ load: (url, context, next) => (urls.push(url), next(url, context)) });
      const { describeEmbedder, pipelineId } = await import(${JSON.stringify(INDEX)});
      await describeEmbedder("xenova:clip");
      pipelineId({ pipeline: "auto", textEmbedder: "use-lite", imageEmbedder: "xenova:clip" });
      process.stdout.write(JSON.stringify(urls));
    `);
    const urls: string[] = JSON.parse(stdout);
    expect(urls.some((url) => url.endsWith("/embed/src/index.ts"))).toBe(true);
    const heavy = /sharp|tesseract|energetic|xenova|onnx/;
    expect(urls.filter((url) => heavy.test(url) && url.includes("node_modules"))).toEqual([]);
    expect(urls.filter((url) => /src\/(use-lite|xenova|image-descriptor)\.ts/.test(url))).toEqual(
      [],
    );
  });
});

describe("opening use-lite", { timeout: 60_000 }, () => {
  it("waits for a WASM runtime that starts late, as on a busy machine", async () => {
    const { stdout } = await run(`
      const instantiate = WebAssembly.instantiate;
      WebAssembly.instantiate = async (...args) => {
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        return instantiate(...args);
      };
      const { openEmbedder } = await import(${JSON.stringify(INDEX)});
      const [vector] = await (await openEmbedder("use-lite")).embedTexts(["two coffees"]);
      process.stdout.write(String(vector.length));
    `);
    expect(stdout).toBe("512");
  });
});

describe("a process that extracts pictures", { timeout: 60_000 }, () => {
  it("prints nothing of its own, writes no files, and ends without closeOcr()", async () => {
    const { stdout, stderr } = await run(`
      import { readFileSync } from "node:fs";
      const { extractImage, openEmbedder, recognizeText, prepareImage } = await import(${JSON.stringify(INDEX)});
      const bytes = readFileSync(new URL(${JSON.stringify(EXAMPLE)}));
      const { lines } = await extractImage({
        uri: "file:///a.png",
        bytes,
        pipeline: "auto",
        textEmbedder: await openEmbedder("use-lite"),
        imageEmbedder: await openEmbedder("image-descriptor"),
      });
      const image = await prepareImage({ name: "a", bytes });
      await recognizeText({ ...image, bytes: Buffer.from("garbage") }).catch(() => {});
      await recognizeText(image);
      console.log(lines.length);
    `);
    expect({ stdout, stderr }).toEqual({ stdout: "9\n", stderr: "" });
    expect(await readdir(folder)).toEqual([]);
  });

  it("stays silent with a transformers model, and when one can't be loaded", async () => {
    const models = await mkdtemp(join(tmpdir(), "silt-models-"));
    await writeTinyTextModel(models);
    const { stdout, stderr } = await run(`
      const { openEmbedder } = await import(${JSON.stringify(INDEX)});
      const embedder = await openEmbedder(${JSON.stringify(`xenova:${models}`)});
      const [vector] = await embedder.embedTexts(["two coffee"]);
      await openEmbedder("xenova:./").catch((error) => process.stdout.write(error.kind + " "));
      console.log(vector.length);
    `);
    await rm(models, { recursive: true });
    expect({ stdout, stderr }).toEqual({ stdout: "unavailable 8\n", stderr: "" });
  });
});
