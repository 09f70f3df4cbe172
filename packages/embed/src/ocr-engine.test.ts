import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { isSiltError } from "@silt/core";
import { describe, expect, it } from "vitest";
import { startOcrEngine } from "./ocr-engine.ts";

describe("startOcrEngine()", { timeout: 20_000 }, () => {
  it("refuses damaged language data as unavailable, and leaves no thread behind", async () => {
    const folder = await mkdtemp(join(tmpdir(), "silt-language-"));
    await writeFile(join(folder, "eng.traineddata.gz"), "damaged");
    const threads: Worker[] = [];
    const note = (thread: Worker) => void threads.push(thread);
    process.on("worker", note);
    const engine = startOcrEngine(folder);
    await expect(engine.worker).rejects.toThrow(/^Cannot start text recognition: .*install again/);
    await expect(engine.worker).rejects.toSatisfy((error) => isSiltError(error, "unavailable"));
    await engine.end();
    process.off("worker", note);
    await rm(folder, { recursive: true });
    expect(threads.map((thread) => thread.threadId)).toEqual([-1]);
  });

  it("refuses a folder without language data, and starts no thread for it", async () => {
    const engine = startOcrEngine(join(tmpdir(), "silt-no-such-folder"));
    await expect(engine.worker).rejects.toThrow(/eng\.traineddata\.gz/);
    await engine.end();
  });

  it("ends even while it starts", async () => {
    const engine = startOcrEngine();
    const death = expect(engine.death).rejects.toThrow("the engine ended");
    await engine.end();
    await death;
  });
});
