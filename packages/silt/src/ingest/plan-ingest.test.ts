import { rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TemporaryStore, temporaryStore } from "../temporary-store.fixture.ts";
import type { IngestOptions } from "./ingest-paths.ts";
import { type PictureFolder, pictureFolder } from "./pictures.fixture.ts";

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

const ingest = (options: IngestOptions = {}) =>
  temporary.store.ingest([pictures.path], { pipeline: "image", ...options });

describe("planIngest()", () => {
  it("says, as the ingest does, that a changed picture is for a newer Silt to ingest", async () => {
    for (const n of [1, 2]) await pictures.paint(`p-${n}.png`, n);
    await ingest();
    const { log } = temporary.store.context.ports;
    const key = { uri: pictures.uriOf("p-1.png"), family: "images" };
    const guard = await log.readGuard(key);
    if (guard === undefined) throw new Error("there is a guard");
    const next = { ...guard, rev: 2, pipelineId: "silt-image-99;pipeline=image" };
    await log.commit({ appends: [], guards: [{ expectedRev: 1, next }] });
    expect(await ingest()).toMatchObject({ skipped: 2, failed: 0 });
    await pictures.paint("p-1.png", 9);
    const reason = expect.stringContaining("a newer Silt has ingested it");
    const failures = [{ source: key.uri, reason }];
    expect(await ingest({ dryRun: true })).toMatchObject({ skipped: 1, failed: 1, failures });
    expect(await ingest()).toMatchObject({ skipped: 1, failed: 1, failures, runs: [] });
    rmSync(pictures.pathOf("p-1.png"));
    expect(await ingest({ prune: true })).toMatchObject({ skipped: 1, deleted: 0, failed: 1 });
    expect(await log.readGuard(key)).toEqual(next);
  });
});
