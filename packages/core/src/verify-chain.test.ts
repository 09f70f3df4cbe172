import { describe, expect, it } from "vitest";
import type { Exclusion, Pointer, SegmentDescriptor, SnapshotManifest } from "./formats.ts";
import { manifestKey, segmentKey } from "./object-keys.ts";
import { EMPTY_RUNS_HASH } from "./run-chain.ts";
import { statsOf } from "./upload-version.ts";
import { manifestProblems, parentProblems, pointerProblems } from "./verify-chain.ts";

const SHARD = { collection: "lines", storeId: "store0000001", shard: "0-of-1" };
const VECTORS: SnapshotManifest["vectors"] = [
  { name: "default", dimension: 2, encoding: "f32le", metric: "cosine", embedder: null },
];
const HASH = "a".repeat(64);
const commitOf = (version: number) => `commit${version}`;

function segment(first: number, last: number, version = 1): SegmentDescriptor {
  const range = { firstSequence: first, lastSequence: last };
  const key = segmentKey(SHARD, version, commitOf(version), range);
  return {
    object: { key, bytes: 10, sha256: HASH, codec: "none" },
    ...range,
    rows: { put: 1, patch: 0, delete: 0 },
    replaced: 0,
    sums: { v: "0".repeat(32), t: "0".repeat(32) },
    tombstonesSince: null,
    sidecars: [],
  };
}

const refOf = (version: number) => ({
  key: manifestKey(SHARD, version, commitOf(version)),
  bytes: 10,
  sha256: HASH,
  codec: "none" as const,
});

function manifest(
  version: number,
  segments: readonly SegmentDescriptor[],
  changed: Partial<SnapshotManifest> = {},
): SnapshotManifest {
  const parent =
    version === 0
      ? null
      : { version: version - 1, commitId: commitOf(version - 1), manifest: refOf(version - 1) };
  return {
    format: 1,
    requires: [],
    kind: "snapshot",
    ...SHARD,
    version,
    commitId: commitOf(version),
    epoch: version,
    parent,
    parentManifestSha256: parent && HASH,
    vectors: VECTORS,
    appliedThrough: segments.at(-1)?.lastSequence ?? 0,
    runsHash: EMPTY_RUNS_HASH,
    segments: [...segments],
    excluded: [],
    stats: statsOf(segments, "now"),
    ...changed,
  };
}

const exclusion = (from: number, to: number, changed: Partial<Exclusion> = {}): Exclusion => ({
  from,
  to,
  runIds: ["run"],
  reason: "poison",
  excludedAt: "now",
  cause: "poison",
  retriedBy: null,
  ...changed,
});

const problems = (of: SnapshotManifest) => manifestProblems(of, SHARD, VECTORS);

describe("manifestProblems()", () => {
  it("finds nothing in versions as they are made: empty, tiers, trailing runs without effect", () => {
    expect(problems(manifest(0, []))).toEqual([]);
    expect(problems(manifest(1, [segment(1, 4), segment(5, 5), segment(6, 9)]))).toEqual([]);
    expect(problems(manifest(3, [segment(1, 4)], { appliedThrough: 7 }))).toEqual([]);
    expect(problems(manifest(2, [segment(1, 4)], { excluded: [exclusion(2, 3)] }))).toEqual([]);
  });

  it.each<[string, SnapshotManifest, RegExp]>([
    ["a gap", manifest(1, [segment(1, 4), segment(6, 9)]), /runs 6 to 9 does not follow run 4/],
    ["an overlap", manifest(1, [segment(1, 4), segment(4, 9)]), /runs 4 to 9 does not follow/],
    ["another beginning", manifest(1, [segment(2, 4)]), /does not follow run 0/],
    ["a range that is none", manifest(1, [segment(1, 4), segment(5, 3)]), /ends before it begins/],
    [
      "runs beyond appliedThrough",
      manifest(1, [segment(1, 4)], { appliedThrough: 3 }),
      /up to 4, it says 3/,
    ],
    ["another owner", manifest(1, [], { storeId: "store0000002" }), /belongs to/],
    ["version 1 without a parent", manifest(1, [], { parent: null }), /has no parent/],
    [
      "two hashes of its parent",
      manifest(1, [], { parentManifestSha256: "b".repeat(64) }),
      /hash in two ways/,
    ],
    [
      "a parent that is no neighbour",
      manifest(3, [], { parent: { version: 1, commitId: "commit1", manifest: refOf(1) } }),
      /not the version before/,
    ],
    [
      "other stats",
      manifest(1, [segment(1, 4)], { stats: statsOf([], "now") }),
      /stats are not those/,
    ],
    [
      "an exclusion of pending runs",
      manifest(1, [], { excluded: [exclusion(1, 2)] }),
      /reaches beyond run 0/,
    ],
  ])("finds %s", (_, wrong, message) => {
    expect(problems(wrong).join("\n")).toMatch(message);
  });

  it("finds vectors that are not the collection's, and objects that lie elsewhere", () => {
    const other = VECTORS.map((field) => ({ ...field, metric: "l2" as const }));
    expect(manifestProblems(manifest(0, []), SHARD, other)).toEqual([
      "its vectors are not those of the collection",
    ]);
    const stray = segment(1, 1);
    const moved = { ...stray, object: { ...stray.object, key: "collections/words/x.sqlite" } };
    expect(problems(manifest(1, [moved])).join()).toMatch(/outside the shard's snapshots/);
  });
});

describe("I4 parentProblems()", () => {
  const parent = manifest(4, [segment(1, 4)], { excluded: [exclusion(3, 3)] });
  const child = (changed: Partial<SnapshotManifest> = {}) =>
    manifest(5, [segment(1, 4), segment(5, 6, 5)], { excluded: [exclusion(3, 3)], ...changed });

  it("finds nothing between neighbours: exclusions are inherited, closed once, or added", () => {
    expect(parentProblems(child(), parent)).toEqual([]);
    const excluded = [exclusion(3, 3, { retriedBy: "run-9" }), exclusion(6, 6)];
    expect(parentProblems(child({ excluded }), parent)).toEqual([]);
  });

  it("finds nothing when a sidecar was added to a kept segment", () => {
    const kept = segment(1, 4);
    const sidecar = { kind: "vectors", object: { ...kept.object, key: "x" }, segmentSha256: HASH };
    const segments = [{ ...kept, sidecars: [sidecar] }, segment(5, 6, 5)];
    expect(parentProblems(child({ segments }), parent)).toEqual([]);
  });

  it.each<[string, SnapshotManifest, RegExp]>([
    ["an epoch that does not rise", child({ epoch: 4 }), /epoch went from 4 to 4/],
    ["an appliedThrough that goes down", child({ appliedThrough: 3 }), /from 4 down to 3/],
    [
      "another history of the same runs",
      child({ appliedThrough: 4, runsHash: HASH }),
      /another history/,
    ],
    ["F56 an exclusion that is lost", child({ excluded: [] }), /lost its parent's exclusion/],
    [
      "an exclusion that became another",
      child({ excluded: [exclusion(3, 3, { reason: "other" })] }),
      /lost its parent's exclusion/,
    ],
    [
      "a kept segment that is described in another way",
      child({ segments: [{ ...segment(1, 4), replaced: 1 }] }),
      /in another way than its parent/,
    ],
  ])("finds %s", (_, wrong, message) => {
    expect(parentProblems(wrong, parent).join("\n")).toMatch(message);
  });

  it("finds an exclusion that was closed and is open again", () => {
    const closed = { ...parent, excluded: [exclusion(3, 3, { retriedBy: "run-9" })] };
    expect(parentProblems(child(), closed)).toHaveLength(1);
  });
});

describe("pointerProblems()", () => {
  const named = manifest(2, [segment(1, 4)]);
  const pointer: Pointer = {
    format: 1,
    requires: [],
    ...SHARD,
    version: 2,
    commitId: commitOf(2),
    epoch: 2,
    manifest: refOf(2),
    appliedThrough: 4,
    runsHash: EMPTY_RUNS_HASH,
    parentCommitId: commitOf(1),
    ancestors: [
      { version: 0, commitId: commitOf(0) },
      { version: 1, commitId: commitOf(1) },
    ],
    committedAt: "now",
    selfSha256: HASH,
  };

  it("finds nothing in a pointer and its manifest", () => {
    expect(pointerProblems(pointer, named, SHARD)).toEqual([]);
  });

  it.each<[Partial<Pointer>, RegExp]>([
    [{ appliedThrough: 5 }, /appliedThrough/],
    [{ epoch: 3 }, /epoch/],
    [{ runsHash: HASH }, /runsHash/],
    [{ manifest: refOf(1) }, /key of another version/],
    [{ parentCommitId: null }, /parent is another one/],
    [{ ancestors: [{ version: 1, commitId: commitOf(1) }] }, /ancestors are not the 2 versions/],
    [
      { ancestors: [3, 1].map((version) => ({ version, commitId: commitOf(version) })) },
      /ancestors are not the 2 versions/,
    ],
    [
      {
        ancestors: [
          { version: 0, commitId: commitOf(0) },
          { version: 1, commitId: "other" },
        ],
      },
      /last ancestor/,
    ],
    [{ committedAt: "later" }, /another time/],
  ])("F61 finds %o", (changed, message) => {
    const found = pointerProblems({ ...pointer, ...changed }, named, SHARD);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });
});
