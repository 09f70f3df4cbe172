import { SiltError } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TemporaryStore, temporaryStore } from "../temporary-store.fixture.ts";
import { canaryGetsThrough } from "./canary-picture.ts";
import { createExtractPool, type ExtractPool } from "./extract-pool.ts";
import { folderSource } from "./folder-source.ts";
import { openTargets } from "./open-targets.ts";
import { type PictureFolder, pictureFolder } from "./pictures.fixture.ts";
import { type PrepareContext, prepareSource } from "./prepare-source.ts";
import { createRunStandings } from "./run-standing.ts";
import { imageFile } from "./walk-images.ts";

let temporary: TemporaryStore;
let pictures: PictureFolder;
beforeEach(async () => {
  temporary = await temporaryStore();
  pictures = pictureFolder();
});
afterEach(async () => {
  pictures[Symbol.dispose]();
  await temporary[Symbol.asyncDispose]();
});

async function contextWith(pool: ExtractPool): Promise<PrepareContext> {
  const { ports } = temporary.store.context;
  const targets = await openTargets(ports, { pipeline: "image" }, { create: true });
  const standings = createRunStandings(ports);
  const sources = folderSource;
  return { ports, targets, sources, pool, standings, retryFailed: false, signal: undefined };
}

/** A pool whose engine can't get past some pictures. */
function poolThatFailsAt(inner: ExtractPool, isFatal: (uri: string) => boolean): ExtractPool {
  return {
    async extract(task) {
      if (isFatal(task.uri)) throw new SiltError("unavailable", "it took over 120000 ms");
      return inner.extract(task);
    },
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
}

describe("prepareSource()", () => {
  const prepare = async (pool: ExtractPool, name: string) =>
    prepareSource(await contextWith(pool), imageFile(pictures.pathOf(name), pictures.path), {
      mayDelete: false,
    });

  it("F23 a picture that no engine gets through fails alone, for another one still gets through", async () => {
    await pictures.paint("heavy.png", 1);
    await using pool = poolThatFailsAt(createExtractPool({ workers: 1 }), (uri) =>
      uri.endsWith("heavy.png"),
    );
    expect(await prepare(pool, "heavy.png")).toMatchObject({
      prepared: "change",
      change: { change: "failed", reason: "it took over 120000 ms" },
    });
  });

  it("F23 an engine that lets nothing through is no failure of a picture", async () => {
    await pictures.paint("good.png", 1);
    await using pool = poolThatFailsAt(createExtractPool({ workers: 1 }), () => true);
    await expect(prepare(pool, "good.png")).rejects.toMatchObject({ kind: "unavailable" });
  });

  it("F23 threads that always crash are no failure of a picture", async () => {
    await pictures.paint("good.png", 1);
    const broken: ExtractPool = {
      extract: () => Promise.reject(new SiltError("internal", "the extraction thread crashed")),
      [Symbol.asyncDispose]: async () => {},
    };
    await expect(prepare(broken, "good.png")).rejects.toMatchObject({
      kind: "unavailable",
      message: /crashed.*known picture/,
    });
  });
});

describe("canaryGetsThrough()", () => {
  it("asks for text and picture, so that no broken part goes unnoticed", {
    timeout: 60_000,
  }, async () => {
    const { ports } = temporary.store.context;
    await using pool = createExtractPool({ workers: 1 });
    for (const pipeline of ["auto", "text", "image"] as const) {
      const targets = await openTargets(ports, { pipeline }, { create: false });
      expect(await canaryGetsThrough(pool, targets), pipeline).toBe(true);
    }
    const blind: ExtractPool = {
      ...pool,
      extract: async (task) => {
        const image = await pool.extract(task);
        return { ...image, lines: { records: [], vectors: new Float32Array(0) } };
      },
    };
    const targets = await openTargets(ports, { pipeline: "auto" }, { create: false });
    expect(await canaryGetsThrough(blind, targets)).toBe(false);
  });
});
