import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDeltaBuffer } from "@silt/core";
import { afterEach, beforeEach, expect, it } from "vitest";
import { mountSmallDisk } from "./small-disk.fixture.ts";
import { createSegmentEngine } from "./workbench.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "silt-work-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("F30 a workbench that cannot be removed takes nothing back from what was done at it, and says so", async (context) => {
  const said: string[] = [];
  const logger = {
    log: (level: string, message: string) => void said.push(`${level}: ${message}`),
  };
  await using engine = createSegmentEngine({ tempRoot: folder, logger });
  const mounted = await (async () => {
    await using _bench = await engine.openWorkbench();
    const [name = ""] = readdirSync(folder);
    // Not even root removes where something is mounted.
    return mountSmallDisk(join(folder, name, "disk"), 1, context);
  })();
  using _mounted = mounted;
  expect(said).toContain("warn: work folder not removed");
});

it("F30 a workbench whose folder is gone is unavailable", async () => {
  await using engine = createSegmentEngine({ tempRoot: folder, logger: { log() {} } });
  await using bench = await engine.openWorkbench();
  rmSync(folder, { recursive: true });
  const owner = { collection: "notes", storeId: "0123456789abcdef", shard: "0-of-1", vectors: [] };
  const draft = { runId: "x", source: null, content: createDeltaBuffer().content() };
  const unavailable = expect.objectContaining({ name: "SiltError", kind: "unavailable" });
  await expect(bench.buildDelta(owner, draft)).rejects.toEqual(unavailable);
  await expect(bench.freeBytes()).rejects.toEqual(unavailable);
});
