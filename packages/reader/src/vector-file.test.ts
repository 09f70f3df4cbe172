import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeEmbedding, isSiltError } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openVectorFile, type VectorRow, writeVectorFile } from "./vector-file.ts";

const SHA256 = "5".repeat(64);
const KEY = { dimension: 3, segmentSha256: SHA256 };
const L2 = { metric: "l2" } as const;

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "silt-vectors-"));
  path = join(folder, "segment.vectors");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Row i has rowid 10 i + 5 and the vector (i, 2i, -i). */
function* rowsOf(count: number): Generator<VectorRow> {
  for (let i = 0; i < count; i++) {
    yield { rowid: 10 * i + 5, embedding: encodeEmbedding([i, 2 * i, -i]) };
  }
}

const outcomeOf = (options: Parameters<typeof openVectorFile>[2] = L2, key = KEY) => {
  const opened = openVectorFile(path, key, options);
  return opened.outcome === "unsound" ? `unsound: ${opened.reason}` : opened.outcome;
};

const openFiles = () => readdirSync("/proc/self/fd").length;

describe("vector file", () => {
  it.each([
    ["resident", 1024 ** 3],
    ["windowed", 1],
  ])("gives back what was written (%s)", (mode, memoryBytesMax) => {
    // Over one buffer of the writer, and over several chunks of the reader.
    writeVectorFile(path, KEY, rowsOf(200_000));
    const opened = openVectorFile(path, KEY, { ...L2, memoryBytesMax });
    if (opened.outcome !== "opened") throw new Error(opened.outcome);
    using block = opened.block;
    expect([block.mode, block.count, opened.rowids.length]).toEqual([mode, 200_000, 200_000]);
    const found = block.nearest(Float32Array.of(150_000.4, 300_000.8, -150_000.4), 3);
    expect(found.map(({ index }) => index)).toEqual([150_000, 150_001, 149_999]);
    expect(opened.rowids[150_001]).toBe(1_500_015);
    expect(readdirSync(folder)).toEqual(["segment.vectors"]);
  });

  it("holds no rows as well as many", () => {
    writeVectorFile(path, KEY, []);
    expect(outcomeOf()).toBe("opened");
  });

  it("is absent when there is none", () => {
    expect(outcomeOf()).toBe("absent");
  });

  it("F46 any flipped bit is found", () => {
    writeVectorFile(path, KEY, rowsOf(20));
    const sound = readFileSync(path);
    const flips = [];
    // Every byte of the header's text and of the payload, some of the zeros in between.
    for (let at = 0; at < sound.length; at += at > 300 && at < 4090 ? 97 : 1) flips.push(at);
    for (const at of flips) {
      const bytes = Buffer.from(sound);
      bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
      writeFileSync(path, bytes);
      expect([at, outcomeOf()]).toEqual([at, expect.stringMatching(/^unsound: /)]);
    }
    writeFileSync(path, sound);
    expect(outcomeOf()).toBe("opened");
  });

  it("F45 a truncated or padded file is found", () => {
    writeVectorFile(path, KEY, rowsOf(20));
    const sound = readFileSync(path);
    for (const bytes of [0, 1, 4095, 4096, sound.length - 1]) {
      writeFileSync(path, sound);
      truncateSync(path, bytes);
      expect(outcomeOf()).toMatch(/^unsound: it has \d+ bytes/);
    }
    writeFileSync(path, Buffer.concat([sound, Buffer.alloc(1)]));
    expect(outcomeOf()).toMatch(/^unsound: it has \d+ bytes/);
  });

  it("is unsound for another segment or dimension", () => {
    writeVectorFile(path, KEY, rowsOf(20));
    const other = { ...KEY, segmentSha256: "6".repeat(64) };
    expect(outcomeOf(L2, other)).toContain("not for segment 666");
    expect(outcomeOf(L2, { ...KEY, dimension: 4 })).toContain("unsound");
  });

  it("keeps no file open but a windowed block's, until that is disposed", () => {
    writeVectorFile(path, KEY, rowsOf(20));
    const before = openFiles();
    outcomeOf();
    outcomeOf(L2, { ...KEY, dimension: 4 });
    expect(openFiles()).toBe(before);
    const opened = openVectorFile(path, KEY, { ...L2, memoryBytesMax: 1 });
    expect(openFiles()).toBe(before + 1);
    if (opened.outcome === "opened") opened.block[Symbol.dispose]();
    expect(openFiles()).toBe(before);
    writeFileSync(path, readFileSync(path).fill(1, 4096, 4100));
    expect(outcomeOf({ ...L2, memoryBytesMax: 1 })).toContain("checksum");
    expect(openFiles()).toBe(before);
  });

  it("a failed write leaves the old file and nothing else", () => {
    writeVectorFile(path, KEY, rowsOf(3));
    const old = readFileSync(path);
    function* broken(): Generator<VectorRow> {
      yield* rowsOf(5);
      yield { rowid: 6, embedding: new Uint8Array(11) };
    }
    const write = () => writeVectorFile(path, KEY, broken());
    expect(write).toThrow("11 bytes, expected 12");
    expect(write).toThrow(expect.toSatisfy((error) => isSiltError(error, "corrupt")));
    expect(readdirSync(folder)).toEqual(["segment.vectors"]);
    expect(readFileSync(path).equals(old)).toBe(true);
  });

  it("says that the environment is to blame where it is", () => {
    const gone = join(folder, "gone", "segment.vectors");
    const write = () => writeVectorFile(gone, KEY, rowsOf(3));
    expect(write).toThrow(expect.toSatisfy((error) => isSiltError(error, "unavailable")));
    expect(existsSync(gone)).toBe(false);
    const read = () => openVectorFile(folder, KEY, L2);
    expect(read).toThrow(expect.toSatisfy((error) => isSiltError(error, "unavailable")));
  });
});
