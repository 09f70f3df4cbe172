/** What someone else wrote into the place of a persisted thing. */
import { beforeAll, describe, expect, it } from "vitest";
import { canonicalJson } from "./canonical-json.ts";
import {
  DEFAULT_POLICY,
  encodeJson,
  type Pointer,
  parseManifest,
  parsePointer,
  parsePolicy,
  type SnapshotManifest,
  seal,
} from "./formats.ts";
import { manifestKey, segmentKey, shardPrefix } from "./object-keys.ts";
import { openPointerWorld } from "./shard-pointer.fixture.ts";
import { readManifest, readPointer } from "./snapshot-pointer.ts";

const POLICY = seal({ ...DEFAULT_POLICY });
const TEXT = canonicalJson(POLICY);
const encode = (text: string) => new TextEncoder().encode(text);
const corrupt = (message: RegExp) =>
  expect.objectContaining({
    name: "SiltError",
    kind: "corrupt",
    message: expect.stringMatching(message),
  });

describe("a thing that holds its own hash", () => {
  it.each([
    ["a byte order mark", `\ufeff${TEXT}`, /it is not JSON/],
    ["a blank at its end", `${TEXT} `, /its bytes are not canonical JSON/],
    [
      "a member twice, of which the second is true",
      TEXT.replace('"format":1', '"format":2,"format":1'),
      /its bytes are not canonical JSON/,
    ],
    [
      "escapes that nobody needs",
      TEXT.replace("tiered", "\\u0074iered"),
      /its bytes are not canonical JSON/,
    ],
    [
      "20,000 lists in each other",
      TEXT.replace(/}$/, `,"x":${"[".repeat(20_000)}${"]".repeat(20_000)}}`),
      /nested over 64 deep/,
    ],
  ])("F32 F61 is corrupt with %s", (_what, text, message) => {
    expect(() => parsePolicy(encode(text), "policy")).toThrow(corrupt(message));
  });

  it("F32 may hold more than this version knows, of any name", () => {
    const text = TEXT.replace(/}$/, ',"zz":1}').replace(/^{/, '{"__proto__":{"format":2},');
    const raw = JSON.parse(text);
    const sealed = encodeJson(seal(omit(raw, "selfSha256")));
    expect(parsePolicy(sealed, "policy").format).toBe(1);
  });

  it("F32 a lease that no timer can wait for is corrupt", () => {
    for (const lease of [{ ttlMs: 1e15 }, { heartbeatMs: 0 }, { skewMs: 1e12 }]) {
      const policy = seal({ ...DEFAULT_POLICY, lease: { ...DEFAULT_POLICY.lease, ...lease } });
      expect(() => parsePolicy(encodeJson(policy), "policy")).toThrow(corrupt(/at lease\./));
    }
  });

  it("F32 says what is wrong with a few of many members, not with all", () => {
    const text = JSON.stringify({ format: 1, requires: Array(100_000).fill(7) });
    expect(() => parsePolicy(encode(text), "policy")).toThrow(corrupt(/^[\s\S]{10,1000}$/));
  });
});

function omit(value: Record<string, unknown>, key: string): object {
  return Object.fromEntries(Object.entries(value).filter(([name]) => name !== key));
}

describe("a key that leads out of its shard", () => {
  let pointer: Pointer;
  let manifest: SnapshotManifest;
  beforeAll(async () => {
    const { ports, shard } = await openPointerWorld();
    pointer = (await readPointer(ports.objects, shard)).pointer;
    manifest = await readManifest(ports.objects, pointer);
  });

  const strays = (): readonly string[] => {
    const { collection, storeId, shard } = pointer;
    const own = { collection, storeId, shard };
    return [
      "/etc/passwd",
      "../../../etc/passwd",
      `${shardPrefix(own)}../../../../../etc/passwd`,
      `${shardPrefix(own)}./manifest.json`,
      `${shardPrefix(own)}snapshots//manifest.json`,
      `${shardPrefix(own)}snapshots/\0`,
      manifestKey({ ...own, collection: "others" }, 1, "x"),
      manifestKey({ ...own, shard: "1-of-2" }, 1, "x"),
      "log.sqlite",
    ];
  };

  it("F32 is refused in a pointer", () => {
    for (const key of strays()) {
      const forged = seal({
        ...omit({ ...pointer }, "selfSha256"),
        manifest: { ...pointer.manifest, key },
      });
      expect(() => parsePointer(encodeJson(forged), "pointer"), key).toThrow(
        corrupt(/it names ".*", which lies outside of "collections\/lines\//),
      );
    }
  });

  it("F32 is refused in a manifest: of a segment, a sidecar, a parent", () => {
    const good = segmentKey(pointer, 1, "x", { firstSequence: 1, lastSequence: 1 });
    for (const key of strays()) {
      const object = { ...pointer.manifest, key, codec: "none" as const };
      const own = { ...object, key: good };
      const segment = {
        object: own,
        firstSequence: 1,
        lastSequence: 1,
        rows: { put: 1, patch: 0, delete: 0 },
        replaced: 0,
        sums: { v: "0".repeat(32), t: "0".repeat(32) },
        tombstonesSince: null,
        sidecars: [],
      };
      const sidecar = { kind: "x", object, segmentSha256: object.sha256 };
      for (const change of [
        { segments: [{ ...segment, object }] },
        { segments: [{ ...segment, sidecars: [sidecar] }] },
        { parent: { version: 0, commitId: "x", manifest: object } },
      ]) {
        expect(() => parseManifest(encodeJson({ ...manifest, ...change }), "manifest")).toThrow(
          corrupt(/which lies outside of/),
        );
      }
      const sound = { ...manifest, segments: [segment] };
      expect(parseManifest(encodeJson(sound), "manifest")).toEqual(sound);
    }
  });
});
