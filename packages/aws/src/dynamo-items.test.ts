import { FORMAT, type Run } from "@silt/core";
import { describe, expect, it } from "vitest";
import {
  checkHeader,
  guardKey,
  guardPartitions,
  guardSortKey,
  headItem,
  itemBytes,
  parseHead,
  parseRunId,
  parseRunItem,
  RUN_PREFIX,
  runIdItem,
  runItem,
  runKey,
  shardOfPartition,
  versionKey,
} from "./dynamo-items.ts";

const SHARD = { collection: "lines", storeId: "store0000001", shard: "0-of-4" };
const SORT_KEY_BYTES_MAX = 1_024;

const RUN: Run = {
  format: FORMAT,
  requires: [],
  sequence: 12,
  runId: "01890000-0000-7000-8000-000000000001",
  delta: {
    key: "collections/lines/store0000001/shards/0-of-4/deltas/01890000-0000-7000-8000-000000000001.tar",
    bytes: 53_760,
    sha256: "a".repeat(64),
    codec: "tar",
  },
  rows: { put: 25, patch: 0, delete: 0 },
  replaced: 1,
  source: "s3://uploads-000000000000-us-east-1/receipts/2026/11/IMG_20261128_213251.jpeg",
  companions: ["words", "images"].map((collection) => ({
    collection,
    shard: "0-of-4",
    runId: "01890000-0000-7000-8000-000000000002",
  })),
  retryOf: null,
  registeredAt: "2026-01-01T00:00:00.000Z",
  runsHash: "b".repeat(64),
};

describe("keys", () => {
  it("of runs and versions sort as their numbers do", () => {
    const numbers = [9, 10, 99, 100, 12_345, Number.MAX_SAFE_INTEGER];
    const runs = numbers.map((sequence) => runKey(SHARD, sequence).sk);
    expect(runs.toSorted()).toEqual(runs);
    const versions = numbers.map((version) => versionKey(SHARD, { version, commitId: "f" }).sk);
    expect(versions.toSorted()).toEqual(versions);
  });

  it("that begin as a run's do are runs' alone: streams are filtered by it", () => {
    expect(runKey(SHARD, 1).sk.startsWith(RUN_PREFIX)).toBe(true);
    expect(runIdItem(SHARD, "x", { state: "abandoned" }).sk?.S?.startsWith(RUN_PREFIX)).toBe(false);
  });

  it("lead back to their shard, those of guards to none", () => {
    expect(shardOfPartition(runKey(SHARD, 1).pk)).toEqual(SHARD);
    const { pk } = guardKey({ family: "images", uri: "file:///a/b" });
    expect(shardOfPartition(pk)).toBeUndefined();
    expect(shardOfPartition("SOURCE#a/b/c#1")).toBeUndefined();
    expect(shardOfPartition("a/b/c/d")).toBeUndefined();
  });

  it("of guards spread over 16 partitions of their family", () => {
    const uris = Array.from({ length: 200 }, (_, n) => `file:///${n}.png`);
    const used = new Set(uris.map((uri) => guardKey({ family: "images", uri }).pk));
    expect([...used].toSorted()).toEqual(guardPartitions("images"));
  });
});

describe("an item that is a document", () => {
  const item = runItem(SHARD, RUN);

  it("is what was written", () => expect(parseRunItem(SHARD, item)).toEqual(RUN));

  it.each([
    ["a changed document", { run: { S: item.run?.S?.replace("receipts", "receiptz") ?? "" } }],
    ["another key", { sk: { S: runKey(SHARD, 13).sk } }],
    ["another partition", { pk: { S: runKey({ ...SHARD, shard: "1-of-4" }, 12).pk } }],
    ["another digest", { digest: { S: "0".repeat(32) } }],
  ])("is refused with %s", (_, change) => {
    expect(() => parseRunItem(SHARD, { ...item, ...change })).toThrow(/does not match its digest/);
  });

  it("is refused without its digest", () => {
    const { digest: _, ...rest } = item;
    expect(() => parseRunItem(SHARD, rest)).toThrow(/does not match its digest/);
  });
});

describe("guardSortKey()", () => {
  const tails = ["a", "\u{fc}", "\u{20ac}", "\u{1f600}"];

  it("keeps a URI that fits, and cuts a longer one between characters", () => {
    for (const character of tails) {
      for (let length = 880; length <= 1_100; length++) {
        const uri = "x".repeat(length % 7) + character.repeat(length);
        const key = guardSortKey(uri);
        expect(Buffer.byteLength(key)).toBeLessThanOrEqual(SORT_KEY_BYTES_MAX);
        if (key === uri) continue;
        const [cut = ""] = key.split("#");
        expect(uri.startsWith(cut)).toBe(true);
        expect(Buffer.byteLength(cut)).toBeGreaterThan(896);
      }
    }
  });

  it("never gives two URIs one key, not even one that looks like the key of the other", () => {
    const long = `file:///${"x".repeat(2_000)}`;
    const key = guardSortKey(long);
    expect(guardSortKey(key)).not.toBe(key);
    expect(guardSortKey(`${long}a`)).not.toBe(key);
  });
});

describe("items", () => {
  it("a registration's stay within a KB each: the service counts begun ones", () => {
    expect(itemBytes(runItem(SHARD, RUN))).toBeLessThanOrEqual(1_024);
    const { runId, sequence } = RUN;
    const idItem = runIdItem(SHARD, runId, { state: "registered", sequence });
    expect(itemBytes(idItem)).toBeLessThanOrEqual(1_024);
  });

  it("a HEAD without an announcement has no such attribute", () => {
    const head = { sequence: 3, runsHash: "h", floor: "", excluding: null, excludeRev: 2 };
    expect(headItem(SHARD, head).excluding).toBeUndefined();
    expect(parseHead(SHARD, headItem(SHARD, head))).toEqual(head);
    const announced = { ...head, excluding: "c" };
    expect(parseHead(SHARD, headItem(SHARD, announced))).toEqual(announced);
  });

  it("that lack what they must have are corrupt", () => {
    const head = headItem(SHARD, {
      sequence: 3,
      runsHash: "h",
      floor: "",
      excluding: null,
      excludeRev: 2,
    });
    for (const name of ["format", "sequence", "runsHash", "floor", "excludeRev"]) {
      const { [name]: _gone, ...rest } = head;
      expect(() => parseHead(SHARD, rest)).toThrow(
        expect.objectContaining({ kind: "corrupt", message: expect.stringContaining(name) }),
      );
    }
    const odd = { ...runIdItem(SHARD, "x", { state: "abandoned" }), state: { S: "lost" } };
    expect(() => parseRunId(SHARD, "x", odd)).toThrow(expect.objectContaining({ kind: "corrupt" }));
  });

  it("of a later format are refused", () => {
    const invalid = expect.objectContaining({ kind: "invalid" });
    expect(() => checkHeader({ format: { N: "2" } }, "it")).toThrow(invalid);
    const requires = { L: [{ S: "forks" }] };
    expect(() => checkHeader({ format: { N: "1" }, requires }, "it")).toThrow(invalid);
    expect(() => checkHeader({ format: { N: "1" }, requires: { L: [] } }, "it")).not.toThrow();
    const corrupt = expect.objectContaining({ kind: "corrupt" });
    expect(() => checkHeader({ format: { N: "1" } }, "it")).toThrow(corrupt);
    expect(() => checkHeader({ requires: { L: [] } }, "it")).toThrow(corrupt);
  });
});
