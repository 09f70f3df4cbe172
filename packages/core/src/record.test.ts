import { createSeededRandom } from "@silt/testkit";
import { describe, expect, it } from "vitest";
import type { VectorField } from "./formats.ts";
import { decodeEmbedding, encodeEmbedding, parsePatch, parseRecord } from "./record.ts";
import { checkChildId, shardKeyOf, shardNames, shardOf } from "./sharding.ts";

const FIELD: VectorField = {
  name: "default",
  dimension: 2,
  encoding: "f32le",
  metric: "cosine",
  embedder: null,
};
const GOOD = { id: "a", embedding: [1, 2] };
const LONE = "\ud800";

describe("parseRecord()", () => {
  it("gives the row to store, with defaults for what is left out", () => {
    expect(parseRecord(GOOD, FIELD, 1)).toEqual({
      operation: "put",
      id: "a",
      parent: null,
      embedding: encodeEmbedding([1, 2]),
      document: null,
      metadata: {},
      sequence: 0,
    });
    const full = { ...GOOD, parent: "p", document: "d", metadata: { a: 1, b: "x", c: true } };
    expect(parseRecord(full, FIELD, 1)).toMatchObject({
      parent: "p",
      document: "d",
      metadata: full.metadata,
    });
  });

  const bad: readonly [string, unknown, RegExp][] = [
    ["null", null, /not an object/],
    ["a list", [], /not an object/],
    ["no id", { embedding: [1, 2] }, /there is no "id"/],
    ["an id that is no string", { ...GOOD, id: 1 }, /"id" is not a string/],
    ["an empty id", { ...GOOD, id: "" }, /"id" is empty/],
    ["an id with an unpaired surrogate", { ...GOOD, id: LONE }, /unpaired surrogate/],
    ["an id with a zero byte", { ...GOOD, id: "a\0" }, /zero byte/],
    ["an id over 1,024 bytes", { ...GOOD, id: "ä".repeat(513) }, /over 1024 bytes/],
    ["a parent over 1,024 bytes", { ...GOOD, parent: "a".repeat(1_025) }, /"parent" is over 1024/],
    ["no embedding", { id: "a" }, /there is no "embedding", expected 2 numbers/],
    ["too few dimensions", { ...GOOD, embedding: [1] }, /has 1 dimensions, the collection has 2/],
    ["too many dimensions", { ...GOOD, embedding: [1, 2, 3] }, /has 3 dimensions/],
    ["a hole in the vector", { ...GOOD, embedding: [1, null] }, /"embedding"\[1\] is not a number/],
    ["F64 NaN", { ...GOOD, embedding: [1, Number.NaN] }, /"embedding"\[1\] is NaN/],
    ["infinity", { ...GOOD, embedding: [Number.POSITIVE_INFINITY, 1] }, /is Infinity/],
    [
      "a number too large for float32",
      { ...GOOD, embedding: [1e39, 1] },
      /1e\+39, too large for float32/,
    ],
    ["F67 a zero vector under cosine", { ...GOOD, embedding: [0, -0] }, /zero vector/],
    ["a vector that is zero as float32", { ...GOOD, embedding: [1e-60, 0] }, /zero vector/],
    ["a document that is no string", { ...GOOD, document: 1 }, /"document" is not a string/],
    ["a document over 1 MiB", { ...GOOD, document: "x".repeat(1024 * 1024 + 1) }, /over 1 MiB/],
    ["a document with an unpaired surrogate", { ...GOOD, document: LONE }, /unpaired surrogate/],
    ["metadata that is a list", { ...GOOD, metadata: [] }, /"metadata" is not an object/],
    ["metadata that is not flat", { ...GOOD, metadata: { a: { b: 1 } } }, /"a" is not flat/],
    ["metadata with null", { ...GOOD, metadata: { a: null } }, /only a patch removes keys/],
    ["metadata with NaN", { ...GOOD, metadata: { a: Number.NaN } }, /not a finite number/],
    ["metadata over 64 KiB", { ...GOOD, metadata: { a: "x".repeat(65_536) } }, /over 64 KiB/],
    [
      "a key that is not known",
      { ...GOOD, embeding: [1, 2] },
      /unknown key "embeding", expected only id/,
    ],
  ];
  for (const [what, input, message] of bad) {
    it(`refuses ${what}`, () => {
      expect(() => parseRecord(input, FIELD, 1)).toThrow(
        expect.objectContaining({ kind: "invalid", message: expect.stringMatching(message) }),
      );
    });
  }

  it("takes what lies exactly on a limit, and a zero vector where it has a meaning", () => {
    const limits = {
      id: "ä".repeat(512),
      embedding: [3.4028234663852886e38, 0],
      document: "x".repeat(1024 * 1024),
    };
    expect(parseRecord(limits, FIELD, 1).id).toBe(limits.id);
    expect(parseRecord({ ...GOOD, embedding: [0, 0] }, { ...FIELD, metric: "l2" }, 1).id).toBe("a");
  });

  it("F55 with several shards refuses a child whose id does not name its parent", () => {
    const child = { ...GOOD, parent: "p" };
    expect(() => parseRecord(child, FIELD, 2)).toThrow(/expected an id "p#<suffix>"/);
    expect(() => parseRecord({ ...child, id: "p#a#b" }, FIELD, 2)).toThrow(/without another "#"/);
    expect(parseRecord({ ...child, id: "p#a" }, FIELD, 2).parent).toBe("p");
  });
});

describe("parsePatch()", () => {
  it("keeps nulls, which remove keys, and knows only what a patch may change", () => {
    expect(parsePatch({ id: "a", metadata: { k: null } })).toEqual({
      operation: "patch",
      id: "a",
      document: null,
      metadata: { k: null },
      sequence: 0,
    });
    for (const key of ["parent", "embedding"]) {
      expect(() => parsePatch({ id: "a", [key]: "p" })).toThrow(`unknown key "${key}"`);
    }
    expect(() => parsePatch({ id: "a", document: null })).toThrow(/"document" is not a string/);
  });
});

describe("embeddings", () => {
  it("are float32, little-endian, and come back as they were, aligned or not", () => {
    const bytes = encodeEmbedding([1, -0.5]);
    expect(Buffer.from(bytes).toString("hex")).toBe("0000803f000000bf");
    const shifted = new Uint8Array(9);
    shifted.set(bytes, 1);
    for (const view of [bytes, shifted.subarray(1)]) {
      expect([...decodeEmbedding(view)]).toEqual([1, -0.5]);
    }
  });
});

describe("shards", () => {
  it("F55 everything about a parent and its children lives in one shard", () => {
    const random = createSeededRandom(1);
    for (let index = 0; index < 500; index++) {
      const parent = `file:///${random.int(1e9)}.png`;
      const shards = 2 + random.int(15);
      const children = ["line-0001", "word-1", ""].map((suffix) => `${parent}#${suffix}`);
      expect(new Set([parent, ...children].map((id) => shardOf(id, shards))).size).toBe(1);
      for (const child of children) checkChildId(child, parent, shards);
    }
  });

  it("are named, and all of them are used about equally", () => {
    expect(shardNames(3)).toEqual(["0-of-3", "1-of-3", "2-of-3"]);
    const counts = new Map<string, number>();
    for (let index = 0; index < 4_000; index++) {
      const shard = shardOf(`id-${index}`, 4);
      counts.set(shard, (counts.get(shard) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(shardNames(4));
    for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });

  it("never change: where an id lives is part of the format", () => {
    expect(["a", "a#1", "file:///x.png#line-0001", ""].map((id) => shardOf(id, 16))).toEqual([
      "11-of-16",
      "11-of-16",
      "13-of-16",
      "12-of-16",
    ]);
    expect(shardKeyOf("a#b#c")).toBe("a#b");
    expect(shardOf("anything", 1)).toBe("0-of-1");
  });
});
