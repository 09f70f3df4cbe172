/** Hostile `collection.json`, `policy.json`, pointers and manifests, every hash that can be made right, right. */
import { canonicalJson, seal } from "@silt/core";

export type DocumentKind = "collection" | "policy" | "pointer" | "manifest";

export interface DocumentCase {
  readonly name: string;
  readonly kind: DocumentKind;
  /** The new bytes of the document. */
  readonly make: (text: string) => string | Uint8Array;
  /** What some operation must say, naming the document; `accepted`: legal, nothing changes. */
  readonly says: RegExp | "accepted";
}

type Json = Record<string, unknown>;

/** Changes a sealed thing and seals it again, as whoever may write it can. */
const resealed =
  (change: (value: Json) => Json) =>
  (text: string): string => {
    const { selfSha256: _, ...value } = JSON.parse(text) as Json;
    return canonicalJson(seal(change(value)));
  };
const changed =
  (change: (value: Json) => Json) =>
  (text: string): string =>
    canonicalJson(change(JSON.parse(text)));

const KINDS: readonly DocumentKind[] = ["collection", "policy", "pointer", "manifest"];
const setIn = (kind: DocumentKind, members: Json) =>
  (kind === "manifest" ? changed : resealed)((value) => ({ ...value, ...members }));

const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

/** What all four must stand. */
function everyKind(kind: DocumentKind): readonly DocumentCase[] {
  const what = new RegExp(
    kind === "policy" ? "policy" : kind === "collection" ? "collection" : kind,
  );
  const one = (name: string, says: DocumentCase["says"], make: DocumentCase["make"]) => ({
    name: `${kind}: ${name}`,
    kind,
    make,
    says,
  });
  const sealedOnly = kind !== "manifest";
  return [
    one("nothing", what, () => ""),
    one("text", /it is not JSON/, () => "hello"),
    one("bytes", /it is not JSON/, () => Buffer.alloc(1_000, 0xff)),
    one("zeros", /it is not JSON/, () => Buffer.alloc(4_096)),
    one("a byte order mark", /it is not JSON/, (text) => `\ufeff${text}`),
    one("UTF-16", /it is not JSON/, (text) => Buffer.from(text, "utf16le")),
    one("null", what, () => "null"),
    one("a list", what, () => "[]"),
    one("lists in each other", what, () => deep(20_000)),
    one("another format", what, setIn(kind, { format: 2 })),
    one("a format that is text", what, setIn(kind, { format: "1" })),
    one(
      "an unknown requirement",
      /requires time-travel.*upgrade Silt/,
      setIn(kind, { requires: ["time-travel"] }),
    ),
    one("a requirement of 60 KB", /requires x+,/, setIn(kind, { requires: ["x".repeat(30_000)] })),
    one("requirements that are none", what, setIn(kind, { requires: "none" })),
    one("more members", "accepted", setIn(kind, { zz: { deep: [1, 2] } })),
    one("prototype keys", "accepted", (text) => {
      const forged = JSON.parse(
        text.replace(/^{/, '{"__proto__":{"format":2},"constructor":1,'),
      ) as Json;
      if (!sealedOnly) return canonicalJson(forged);
      const entries = Object.entries(forged).filter(([key]) => key !== "selfSha256");
      return canonicalJson(seal(Object.fromEntries(entries)));
    }),
    ...(sealedOnly
      ? [
          one("a deep member", /nested over 64 deep/, (text) =>
            text.replace(/}$/, `,"zz":${deep(20_000)}}`),
          ),
          one("a blank at its end", /not canonical JSON/, (text) => `${text}\n`),
          one("a member twice", /not canonical JSON/, (text) =>
            text.replace('"format":1', '"format":9,"format":1'),
          ),
          one("a member that the hash does not know", /does not match its own hash/, (text) =>
            text.replace(/}$/, ',"zz":1}'),
          ),
        ]
      : []),
  ];
}

const of = (
  kind: DocumentKind,
  name: string,
  says: DocumentCase["says"],
  members: Json,
): DocumentCase => ({ name: `${kind}: ${name}`, kind, says, make: setIn(kind, members) });

const ref = (key: string) => ({ key, bytes: 10, sha256: "0".repeat(64), codec: "none" });
const OUTSIDE = /which lies outside of "collections\/notes\//;

/** Keys that lead out of the shard. */
const STRAYS = [
  "../../../../canary/secret.txt",
  "/etc/passwd",
  "collections/words/x",
  "log.sqlite",
  "",
];

const POINTERS: readonly DocumentCase[] = [
  ...STRAYS.map((key) =>
    of("pointer", `manifest at "${key}"`, /lies outside|pointer/, { manifest: ref(key) }),
  ),
  of("pointer", "a manifest of 8 EB", /pointer|manifest/, {
    manifest: { ...ref("x"), bytes: Number.MAX_SAFE_INTEGER },
  }),
  of("pointer", "another collection", /lies outside|belongs to/, { collection: "words" }),
  of("pointer", "a shard that is a path", /lies outside|belongs to/, { shard: "../../words" }),
  of("pointer", "a version without end", /pointer/, { version: 1e300 }),
  of("pointer", "a negative version", /pointer/, { version: -1 }),
  of("pointer", "a later version", /not the pointer's|manifest/, { version: 99 }),
  of("pointer", "more applied than there is", /do not belong together|not the pointer's/, {
    appliedThrough: 99,
  }),
  of("pointer", "an epoch at the end of all", /not the pointer's|epoch/, {
    epoch: Number.MAX_SAFE_INTEGER,
  }),
  of("pointer", "a hundred thousand ancestors", /pointer/, {
    ancestors: Array.from({ length: 5_000 }, () => ({ version: 1, commitId: "x" })),
  }),
];

const segment = (members: Json) => ({
  object: ref("x"),
  firstSequence: 1,
  lastSequence: 1,
  rows: { put: 4, patch: 0, delete: 0 },
  replaced: 0,
  sums: { v: "0".repeat(32), t: "0".repeat(32) },
  tombstonesSince: null,
  sidecars: [],
  ...members,
});

const MANIFESTS: readonly DocumentCase[] = [
  ...STRAYS.map((key) =>
    of("manifest", `segment at "${key}"`, key === "" ? /manifest/ : OUTSIDE, {
      segments: [segment({ object: ref(key) })],
    }),
  ),
  of("manifest", "another owner", /not the pointer's|lies outside/, { storeId: "store0000009" }),
  of("manifest", "a parent elsewhere", OUTSIDE, {
    parent: { version: 0, commitId: "x", manifest: ref("../../x") },
  }),
  of("manifest", "ranges without end", /manifest/, {
    segments: [segment({ lastSequence: 1e300 })],
  }),
  of("manifest", "segments that are numbers", /manifest/, { segments: Array(1_000).fill(7) }),
  of("manifest", "200,000 segments", /Too big/, { segments: Array(200_000).fill(7) }),
  of("manifest", "vectors of another dimension", /vectors|manifest/, {
    vectors: [
      { name: "default", dimension: 16_384, encoding: "f32le", metric: "l2", embedder: null },
    ],
  }),
];

const IDENTITIES: readonly DocumentCase[] = [
  of("collection", "another name", /its file names "words"/, { collection: "words" }),
  of("collection", "a name that is a path", /collection/, { collection: "../words" }),
  of("collection", "a store id that is a path", /collection/, { storeId: "../../../x" }),
  of("collection", "shards without end", /collection/, { shards: 1e9 }),
  of("collection", "no vectors", /collection/, { vectors: [] }),
  of("collection", "a dimension without end", /collection/, {
    vectors: [
      { name: "default", dimension: 1e15, encoding: "f32le", metric: "cosine", embedder: null },
    ],
  }),
];

const policyOf = (name: string, part: "compaction" | "lease", members: Json): DocumentCase => ({
  name: `policy: ${name}`,
  kind: "policy",
  says: /policy/,
  make: resealed((value) => ({ ...value, [part]: { ...(value[part] as Json), ...members } })),
});

const POLICIES: readonly DocumentCase[] = [
  policyOf("a lease that no timer can wait for", "lease", { ttlMs: 1e15 }),
  policyOf("a heartbeat without a pause", "lease", { heartbeatMs: 0 }),
  policyOf("a fan-out of a million", "compaction", { fanOut: 1e6 }),
  policyOf("no segment", "compaction", { segmentsMax: 0 }),
  policyOf("a negative size", "compaction", { bytesMax: -1 }),
  policyOf("a strategy to come", "compaction", { strategy: "constructor" }),
];

export const DOCUMENT_CASES: readonly DocumentCase[] = [
  ...KINDS.flatMap(everyKind),
  ...POINTERS,
  ...MANIFESTS,
  ...IDENTITIES,
  ...POLICIES,
];
