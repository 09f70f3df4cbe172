import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createExtractPool } from "./extract-pool.ts";
import type { ExtractTask } from "./extract-worker.ts";

const MODULE = new URL("./crashing-worker.fixture.ts", import.meta.url);
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "silt-pool-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const task = (uri: string): ExtractTask => ({
  uri,
  bytes: new Uint8Array(1),
  metadata: { folder },
  pipeline: "image",
  textEmbedder: { id: "use-lite", dimension: 512, modality: "text" },
  imageEmbedder: { id: "image-descriptor", dimension: 512, modality: "image" },
});

const open = (workers: number, signal?: AbortSignal) =>
  createExtractPool({ workers, signal, module: MODULE });

describe("createExtractPool()", () => {
  it("gives each caller its own picture, with more callers than threads", async () => {
    await using pool = open(2);
    const names = Array.from({ length: 9 }, (_, index) => `picture-${index}`);
    const images = await Promise.all(names.map((name) => pool.extract(task(name))));
    expect(images.map(({ warnings }) => warnings[0])).toEqual(names);
  });

  it("replaces a crashed thread and gives its picture a second chance", async () => {
    await using pool = open(1);
    const names = ["crash-once", "throw-once", "down-once", "picture"];
    const images = await Promise.all(names.map((name) => pool.extract(task(name))));
    expect(images.map(({ warnings }) => warnings[0])).toEqual(names);
  });

  it("a picture that crashes two threads fails alone", async () => {
    await using pool = open(1);
    const [crash, other] = await Promise.allSettled([
      pool.extract(task("crash-always")),
      pool.extract(task("picture")),
    ]);
    expect(crash).toMatchObject({
      reason: { kind: "internal", message: expect.stringContaining("crashed 2 times") },
    });
    expect(other).toMatchObject({ status: "fulfilled" });
  });

  it("an engine that is down twice is unavailable", async () => {
    await using pool = open(1);
    await expect(pool.extract(task("down"))).rejects.toMatchObject({ kind: "unavailable" });
  });

  it("an abort ends what hangs and what waits with the signal's reason", async () => {
    const controller = new AbortController();
    await using pool = open(1, controller.signal);
    await pool.extract(task("picture"));
    const hanging = pool.extract(task("hangs"));
    const waiting = pool.extract(task("picture"));
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await Promise.allSettled([hanging, waiting, pool.extract(task("late"))])).toEqual(
      Array.from({ length: 3 }, () => ({ status: "rejected", reason })),
    );
  });
});
