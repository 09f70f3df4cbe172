/**
 * Damage under right hashes: what a bug, not a disk, would leave. Segment, manifest and pointer are
 * written anew so that every hash agrees, and `verifyStore()` still finds what is wrong inside.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type CollectionIdentity,
  encodeJson,
  type Pointer,
  parseCollection,
  parseManifest,
  parsePointer,
  type SnapshotManifest,
  seal,
  sha256Of,
  type VerifyReport,
  verifyStore,
} from "@silt/core";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildStore, objectKeys, openStoreFolder, overwrite } from "./store-copy.fixture.ts";

const folder = openStoreFolder();
beforeAll(() => buildStore(folder));
afterAll(() => folder[Symbol.asyncDispose]());

interface Forgery {
  /** SQL on the newest segment. */
  readonly sql?: string;
  readonly manifest?: (manifest: SnapshotManifest) => SnapshotManifest;
  readonly pointer?: (pointer: Omit<Pointer, "selfSha256">) => Omit<Pointer, "selfSha256">;
  readonly collection?: (
    identity: Omit<CollectionIdentity, "selfSha256">,
  ) => Omit<CollectionIdentity, "selfSha256">;
}

const keyOf = (pattern: RegExp) =>
  objectKeys(folder.root).find((key) => pattern.test(key)) ?? expect.fail(String(pattern));
const POINTER = () => keyOf(/^collections\/lines\/.*latest-pointer\.json$/);
const MANIFEST = () => keyOf(/^collections\/lines\/.*\/4-\w+\/manifest\.json$/);
const SEGMENT = () => keyOf(/^collections\/lines\/.*\/4-\w+\/.*\.sqlite$/);
const COLLECTION = "collections/lines/collection.json";

/** Applies a forgery to a fresh copy, every hash made right again, and verifies it. */
async function reportOf(forgery: Forgery): Promise<VerifyReport> {
  const root = folder.copy();
  const at = (key: string) => join(root, key);
  const read = (key: string) => readFileSync(at(key));
  let manifest = parseManifest(read(MANIFEST()), "manifest");
  if (forgery.sql !== undefined) {
    overwrite(at(SEGMENT()), read(SEGMENT()));
    const db = new Database(at(SEGMENT()));
    db.exec(forgery.sql);
    db.close();
    manifest = withNewest(manifest, read(SEGMENT()));
  }
  manifest = forgery.manifest?.(manifest) ?? manifest;
  const bytes = encodeJson(manifest);
  overwrite(at(MANIFEST()), bytes);
  const { selfSha256: _, ...pointer } = parsePointer(read(POINTER()), "pointer");
  const ref = { ...pointer.manifest, bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  const named = { ...pointer, manifest: ref };
  overwrite(at(POINTER()), encodeJson(seal(forgery.pointer?.(named) ?? named)));
  if (forgery.collection !== undefined) {
    const { selfSha256: __, ...identity } = parseCollection(read(COLLECTION), "collection");
    overwrite(at(COLLECTION), encodeJson(seal(forgery.collection(identity))));
  }
  await using ports = await folder.open(root);
  return await verifyStore(ports, { collections: ["lines"], deep: true });
}

/** The manifest with length and hash of its newest segment as they are now. */
function withNewest(manifest: SnapshotManifest, bytes: Uint8Array): SnapshotManifest {
  const segments = manifest.segments.map((segment) =>
    segment.object.key === SEGMENT()
      ? {
          ...segment,
          object: { ...segment.object, bytes: bytes.byteLength, sha256: sha256Of(bytes) },
        }
      : segment,
  );
  const size = segments.reduce((sum, { object }) => sum + object.bytes, 0);
  return { ...manifest, segments, stats: { ...manifest.stats, bytes: size } };
}

const named = (report: VerifyReport) => report.problems.map(({ object, kind }) => [object, kind]);
const messages = (report: VerifyReport) => report.problems.map(({ message }) => message).join("\n");

describe("I3 verifyStore() finds in a segment whose hash is right", () => {
  it("nothing, when nothing was forged", async () => {
    expect(named(await reportOf({}))).toEqual([]);
  });

  const PUT = "(SELECT row FROM rows WHERE operation = 'put' LIMIT 1)";
  const CASES: readonly [what: string, sql: string, message: RegExp][] = [
    ["a row less", `DELETE FROM rows WHERE row = ${PUT}`, /puts: \d+ found, the manifest says/],
    [
      "a row that is there as another operation",
      `UPDATE rows SET operation = 'delete', parent = NULL, embedding = NULL, va = NULL, vb = NULL, document = NULL, metadata = NULL WHERE row = ${PUT}`,
      /text digest does not match/,
    ],
    [
      "another document",
      `UPDATE rows SET document = 'forged' WHERE row = ${PUT}`,
      /text digest does not match/,
    ],
    [
      "another vector",
      `UPDATE rows SET embedding = X'0000803f0000803f0000803f0000803f' WHERE row = ${PUT}`,
      /vector digest does not match/,
    ],
    [
      "a zero vector under cosine (F67)",
      `UPDATE rows SET embedding = zeroblob(16) WHERE row = ${PUT}`,
      /zero vector/,
    ],
    [
      "a vector that is not finite (F64)",
      `UPDATE rows SET embedding = X'0000c07f0000803f0000803f0000803f' WHERE row = ${PUT}`,
      /NaN/,
    ],
    [
      "a vector of another dimension",
      `UPDATE rows SET embedding = zeroblob(12) WHERE row = ${PUT}`,
      /12 bytes, expected 16/,
    ],
    ["another digest", `UPDATE rows SET tb = tb + 1 WHERE row = ${PUT}`, /text digest/],
    [
      "a row of a run that it does not stand for",
      `UPDATE rows SET sequence = 1 WHERE row = ${PUT}`,
      /sequence is 1, expected/,
    ],
    [
      "a replaced parent more",
      "INSERT INTO replaced VALUES ('forged', (SELECT value FROM meta WHERE key = 'lastSequence'))",
      /replaced parents: \d+ found/,
    ],
    [
      "another range",
      "UPDATE meta SET value = '1' WHERE key = 'firstSequence'",
      /meta firstSequence/,
    ],
    [
      "another owner",
      "UPDATE meta SET value = 'words' WHERE key = 'collection'",
      /meta collection/,
    ],
    ["an index less", "DROP INDEX rows_parent", /schema is not that/],
  ];
  it.each(CASES)("%s", async (_, sql, message) => {
    const report = await reportOf({ sql });
    expect(named(report)[0]).toEqual([SEGMENT(), "segment-unsound"]);
    expect(messages(report)).toMatch(message);
  });
});

describe("I4 verifyStore() finds in a manifest whose hash is right", () => {
  const newest =
    (change: (segment: SnapshotManifest["segments"][number]) => object) =>
    (manifest: SnapshotManifest): SnapshotManifest => ({
      ...manifest,
      segments: manifest.segments.map((segment, index) =>
        index === manifest.segments.length - 1 ? { ...segment, ...change(segment) } : segment,
      ),
    });
  const CASES: readonly [
    what: string,
    (manifest: SnapshotManifest) => SnapshotManifest,
    object: () => string,
    kind: string,
  ][] = [
    [
      "stats that are not its segments'",
      (m) => ({ ...m, stats: { ...m.stats, rows: 1 } }),
      MANIFEST,
      "manifest-inconsistent",
    ],
    [
      "a segment less",
      (m) => ({ ...m, segments: m.segments.slice(1) }),
      MANIFEST,
      "manifest-inconsistent",
    ],
    [
      "a sum that its rows don't have",
      newest(({ sums }) => ({ sums: { ...sums, v: "0".repeat(32) } })),
      SEGMENT,
      "segment-unsound",
    ],
    [
      "counts that its rows don't have",
      newest(({ rows }) => ({ rows: { ...rows, put: rows.put + 1, patch: rows.patch } })),
      SEGMENT,
      "segment-unsound",
    ],
    [
      "another hash of its parent",
      (m) => ({ ...m, parentManifestSha256: "0".repeat(64) }),
      MANIFEST,
      "manifest-inconsistent",
    ],
    ["an epoch that is its parent's", (m) => ({ ...m, epoch: 1 }), MANIFEST, "chain-broken"],
    [
      "an exclusion of a run that is not applied",
      (m) => ({
        ...m,
        excluded: [
          {
            from: 9,
            to: 9,
            runIds: ["x"],
            cause: "poison",
            reason: "r",
            excludedAt: "now",
            retriedBy: "y",
          },
        ],
      }),
      MANIFEST,
      "manifest-inconsistent",
    ],
  ];
  it.each(CASES)("%s", async (_, manifest, object, kind) => {
    expect(named(await reportOf({ manifest }))).toContainEqual([object(), kind]);
  });

  it("I2 an applied run that no segment holds", async () => {
    const report = await reportOf({
      manifest: (m) => {
        const segments = m.segments.slice(0, -1);
        const bytes = segments.reduce((sum, { object }) => sum + object.bytes, 0);
        const rows = segments.reduce((sum, { rows: r }) => sum + r.put + r.patch + r.delete, 0);
        return { ...m, segments, stats: { ...m.stats, segments: segments.length, bytes, rows } };
      },
    });
    expect(named(report)).toEqual([[MANIFEST(), "run-not-covered"]]);
  });
});

describe("F61 verifyStore() finds in files that are sealed", () => {
  it("an appliedThrough in the pointer that the manifest does not have", async () => {
    const report = await reportOf({ pointer: (p) => ({ ...p, appliedThrough: 6 }) });
    expect(named(report)).toContainEqual([POINTER(), "pointer-mismatch"]);
  });

  it("another parent in the pointer", async () => {
    const report = await reportOf({ pointer: (p) => ({ ...p, parentCommitId: "f".repeat(16) }) });
    expect(named(report)).toEqual([[POINTER(), "pointer-mismatch"]]);
  });

  it("another ancestor in the pointer, by which a flip would be judged", async () => {
    for (const version of [0, 2]) {
      const ancestors = (p: Pick<Pointer, "ancestors">) =>
        p.ancestors.map((each) => (each.version === version ? { ...each, commitId: "f" } : each));
      const report = await reportOf({ pointer: (p) => ({ ...p, ancestors: ancestors(p) }) });
      expect(named(report)).toEqual([[POINTER(), "pointer-mismatch"]]);
      expect(messages(report)).toContain(`version ${version}`);
    }
  });

  it("another metric in collection.json", async () => {
    const report = await reportOf({
      collection: (c) => ({
        ...c,
        vectors: c.vectors.map((v) => ({ ...v, metric: "l2" as const })),
      }),
    });
    expect(named(report)).toEqual([[COLLECTION, "collection-mismatch"]]);
  });

  it("another store id or number of shards in collection.json, and checks what is there", async () => {
    for (const change of [{ storeId: "0123456789abcdef" }, { shards: 4 }]) {
      const report = await reportOf({ collection: (c) => ({ ...c, ...change }) });
      expect(named(report)).toEqual([[COLLECTION, "collection-mismatch"]]);
      expect(report.checked.segments).toBeGreaterThan(2);
    }
  });
});
