import { existsSync, readdirSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type BuiltDelta,
  type DropRule,
  encodeEmbedding,
  lanesToHex,
  type MergedSegment,
  type MergeInput,
  type Row,
  type Run,
  type SegmentContent,
  type SegmentDescriptor,
  SiltError,
  sha256Of,
  stampSequence,
  type Workbench,
} from "@silt/core";
import { createSeededRandom, randomContent, silentLogger } from "@silt/testkit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { bodyOf, poisonReason, runOf } from "./hostile-bundle.fixture.ts";
import {
  expectAsFolded,
  foldAll,
  OWNER,
  RUN_ID,
  temporaryFolder,
  unstampedOf,
} from "./merge-trial.fixture.ts";
import { mountSmallDisk } from "./small-disk.fixture.ts";
import { createSegmentEngine } from "./workbench.ts";

/** The machine may be busy; no claim here is about time. */
vi.setConfig({ testTimeout: 60_000 });

const KEEP: DropRule = { drop: "nothing" };

let folder: ReturnType<typeof temporaryFolder>;
let engine: ReturnType<typeof createSegmentEngine>;
let workbench: Workbench;
beforeEach(async () => {
  folder = temporaryFolder();
  engine = createSegmentEngine({ tempRoot: () => folder.path, logger: silentLogger });
  workbench = await engine.openWorkbench();
});
afterEach(async () => {
  await workbench[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const bytesOf = ({ source }: Pick<BuiltDelta, "source">) =>
  source.kind === "file" ? readFile(source.path) : Promise.resolve(source.bytes);

/** Builds the delta of a content; gives its bytes and the run that registers it. */
async function build(content: SegmentContent, sequence: number, on = workbench) {
  const draft = { runId: RUN_ID, source: null, content: unstampedOf(content) };
  const built = await on.buildDelta(OWNER, draft);
  const tar = Uint8Array.from(await bytesOf(built));
  const run: Run = { ...runOf(tar, built), sequence };
  return { tar, run };
}

async function receive({ tar, run }: { tar: Uint8Array; run: Run }, on = workbench) {
  const received = await on.receiveDelta(OWNER, run, bodyOf(tar, 65_536));
  if (received.outcome !== "sound") throw new Error(received.reason);
  return received.input;
}

function descriptorOf(bytes: Uint8Array, merged: MergedSegment, last: number): SegmentDescriptor {
  return {
    object: { key: "x.sqlite", bytes: merged.bytes, sha256: sha256Of(bytes), codec: "none" },
    firstSequence: 1,
    lastSequence: last,
    rows: merged.rows,
    replaced: merged.replaced,
    sums: { v: lanesToHex(merged.sums.v), t: lanesToHex(merged.sums.t) },
    tombstonesSince: null,
    sidecars: [],
  };
}

const pathOf = ({ source }: MergedSegment) => (source.kind === "file" ? source.path : "");
const mergeAll = (inputs: readonly MergeInput[], signal?: AbortSignal, on = workbench) =>
  on.merge(OWNER, inputs, {
    firstSequence: inputs[0]?.firstSequence ?? 1,
    lastSequence: inputs.at(-1)?.lastSequence ?? 1,
    rule: KEEP,
    signal,
  });

/** Puts with documents of some 100 bytes. */
function manyPuts(count: number, prefix = "id"): SegmentContent {
  const rows = Array.from(
    { length: count },
    (_, index): Row => ({
      operation: "put",
      id: `${prefix}-${index}`,
      parent: null,
      embedding: encodeEmbedding([1, index]),
      document: `${index} `.repeat(20),
      metadata: { index },
      sequence: 0,
    }),
  );
  return { rows: new Map(rows.map((row) => [row.id, row])), replaced: new Map() };
}

describe("Workbench.merge()", () => {
  it("I2 I3 equals core's fold through bundles, the worker and received segments", async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = createSeededRandom(seed);
      const log = [1, 2, 3].map((sequence) => stampSequence(randomContent(random), sequence));
      const inputs: MergeInput[] = [];
      for (const [index, content] of log.entries()) {
        inputs.push(await receive(await build(content, index + 1)));
      }
      const [a, b, c] = inputs as [MergeInput, MergeInput, MergeInput];
      const first = await mergeAll([a, b]);
      expectAsFolded(pathOf(first), first, foldAll(log.slice(0, 2), KEEP));
      const bytes = Uint8Array.from(await bytesOf(first));
      const descriptor = descriptorOf(bytes, first, 2);
      const segment = await workbench.receiveSegment(OWNER, descriptor, bodyOf(bytes));
      if (segment.outcome !== "sound") throw new Error(segment.reason);
      const second = await mergeAll([segment.input, c]);
      const below = foldAll(log.slice(0, 2), KEEP).content;
      expectAsFolded(pathOf(second), second, foldAll([below, log[2] as SegmentContent], KEEP));
      expect(sha256Of(await bytesOf(second))).toBe(second.sha256);
    }
  });

  it("F11 does not hold the event loop: timers fire all the while", async () => {
    const inputs = [
      await receive(await build(manyPuts(8_000), 1)),
      await receive(await build(manyPuts(8_000), 2)),
    ];
    let ticks = 0;
    const timer = setInterval(() => {
      ticks += 1;
    }, 1);
    const merged = await mergeAll(inputs);
    clearInterval(timer);
    expect(merged.rows.put).toBe(8_000);
    // On this thread there would be none: SQLite never yields.
    expect(ticks).toBeGreaterThan(10);
  });

  it("F24 an aborted merge ends, and the next one works with a new worker", async () => {
    const inputs = [
      await receive(await build(manyPuts(8_000), 1)),
      await receive(await build(manyPuts(8_000), 2)),
    ];
    const abort = new AbortController();
    const merging = mergeAll(inputs, abort.signal);
    setImmediate(() => abort.abort());
    await expect(merging).rejects.toMatchObject({ name: "SiltError", kind: "unavailable" });
    expect((await mergeAll(inputs)).rows.put).toBe(8_000);
  });

  it("F15 a merge that is stopped by a lost lease says so, whatever the worker made of it", async () => {
    const input = await receive(await build(manyPuts(5_000), 1));
    const lost = new SiltError("fenced", "Cannot go on: the lease is lost");
    const abort = new AbortController();
    const merging = mergeAll([input], abort.signal);
    setImmediate(() => abort.abort(lost));
    await expect(merging).rejects.toBe(lost);
    await expect(mergeAll([input], AbortSignal.abort(lost))).rejects.toBe(lost);
  });
});

describe("Workbench.receiveSegment()", () => {
  it("F31 I1 a segment with another length or hash than its descriptor is poison", async () => {
    const merged = await mergeAll([await receive(await build(manyPuts(10), 1))]);
    const bytes = Uint8Array.from(await bytesOf(merged));
    const descriptor = descriptorOf(bytes, merged, 1);
    const flipped = Uint8Array.from(bytes);
    flipped[20_000] = (flipped[20_000] as number) ^ 1;
    for (const body of [flipped, bytes.subarray(1), Buffer.concat([bytes, bytes])]) {
      const received = await workbench.receiveSegment(OWNER, descriptor, bodyOf(body));
      expect(poisonReason(received)).toMatch(/registered length and hash/);
    }
  });
});

describe("a workbench", () => {
  it("removes everything that it made when it is disposed", async () => {
    await mergeAll([await receive(await build(manyPuts(10), 1))]);
    expect(readdirSync(folder.path)).toHaveLength(1);
    await workbench[Symbol.asyncDispose]();
    expect(readdirSync(folder.path)).toEqual([]);
  });

  it("F30 cannot be opened where no folder can be made: unavailable", async () => {
    const nowhere = createSegmentEngine({
      tempRoot: () => join(folder.path, "no"),
      logger: silentLogger,
    });
    await expect(nowhere.openWorkbench()).rejects.toMatchObject({ kind: "unavailable" });
  });

  it("F57 a body that breaks off is unavailable, never poison", async () => {
    const { tar, run } = await build(manyPuts(10), 1);
    async function* breaking() {
      yield tar.subarray(0, 1_000);
      throw new Error("socket hang up");
    }
    await expect(workbench.receiveDelta(OWNER, run, breaking())).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/socket hang up/),
    });
  });
});

describe("F30 on a full disk", () => {
  const MEBIBYTES = 4;

  it("every step is unavailable, says why, and leaves nothing behind", async (context) => {
    const path = join(folder.path, "small");
    using _disk = mountSmallDisk(path, MEBIBYTES, context);
    await using small = createSegmentEngine({ tempRoot: () => path, logger: silentLogger });
    const full = expect.objectContaining({
      name: "SiltError",
      kind: "unavailable",
      message: expect.stringMatching(/disk is full|ENOSPC/),
    });
    const big = await build(manyPuts(20_000), 1);
    expect(big.tar.byteLength).toBeGreaterThan(MEBIBYTES * 1024 * 1024);

    {
      await using bench = await small.openWorkbench();
      const draft = { runId: RUN_ID, source: null, content: manyPuts(20_000) };
      await expect(bench.buildDelta(OWNER, draft)).rejects.toEqual(full);
      await expect(receive(big, bench)).rejects.toEqual(full);
    }
    expect(readdirSync(path)).toEqual([]);

    {
      // The bundle fits, but not beside the file that is unpacked from it.
      const half = await build(manyPuts(13_000), 1);
      await using bench = await small.openWorkbench();
      await expect(receive(half, bench)).rejects.toEqual(full);
    }
    expect(readdirSync(path)).toEqual([]);

    {
      // Both inputs fit, but not their merge beside them.
      const parts = [await build(manyPuts(6_000, "a"), 1), await build(manyPuts(6_000, "b"), 2)];
      await using bench = await small.openWorkbench();
      const inputs: MergeInput[] = [];
      for (const part of parts) inputs.push(await receive(part, bench));
      await expect(mergeAll(inputs, undefined, bench)).rejects.toEqual(full);
    }
    expect(readdirSync(path)).toEqual([]);

    // And with room again the same engine works.
    await using bench = await small.openWorkbench();
    const merged = await mergeAll(
      [await receive(await build(manyPuts(10), 1), bench)],
      undefined,
      bench,
    );
    expect(existsSync(pathOf(merged))).toBe(true);
    expect(statSync(pathOf(merged)).size).toBe(merged.bytes);
  });
});
