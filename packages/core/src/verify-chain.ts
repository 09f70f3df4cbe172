/** What a version, and a version beside its parent, must satisfy: pure, from what was read. */
import { canonicalJson } from "./canonical-json.ts";
import {
  ANCESTORS_MAX,
  type Exclusion,
  type Pointer,
  type SegmentDescriptor,
  type SnapshotManifest,
  type VectorField,
} from "./formats.ts";
import { manifestKey, snapshotsPrefix } from "./object-keys.ts";
import type { ShardRef } from "./ports.ts";
import { statsOf } from "./upload-version.ts";

const same = (a: unknown, b: unknown): boolean => canonicalJson(a) === canonicalJson(b);

/** Keeps the claims that don't hold. */
function broken(claims: readonly (readonly [holds: boolean, claim: string])[]): readonly string[] {
  return claims.filter(([holds]) => !holds).map(([, claim]) => claim);
}

/** What is wrong with a manifest by itself. `vectors`: those of the collection, where known. */
export function manifestProblems(
  manifest: SnapshotManifest,
  shard: ShardRef,
  vectors: readonly VectorField[] | undefined,
): readonly string[] {
  const { version, parent, segments, appliedThrough, excluded, stats } = manifest;
  const isMine =
    manifest.collection === shard.collection &&
    manifest.storeId === shard.storeId &&
    manifest.shard === shard.shard;
  return [
    ...broken([
      [isMine, `it belongs to ${manifest.collection}/${manifest.storeId}/${manifest.shard}`],
      [
        vectors === undefined || same(manifest.vectors, vectors),
        "its vectors are not those of the collection",
      ],
      [(parent === null) === (version === 0), "exactly version 0 has no parent"],
      [
        manifest.parentManifestSha256 === (parent?.manifest.sha256 ?? null),
        "it names its parent's hash in two ways",
      ],
      [parent === null || parent.version + 1 === version, "its parent is not the version before"],
      [
        parent === null ||
          parent.manifest.key === manifestKey(shard, parent.version, parent.commitId),
        "its parent's manifest has the key of another version",
      ],
      [
        same(stats, statsOf(segments, stats.committedAt)),
        "its stats are not those of its segments",
      ],
    ]),
    ...rangeProblems(segments, appliedThrough),
    ...segments.flatMap(({ object }) =>
      object.key.startsWith(snapshotsPrefix(shard))
        ? []
        : [`segment "${object.key}" lies outside the shard's snapshots`],
    ),
    ...excluded.flatMap((exclusion) => exclusionProblems(exclusion, appliedThrough)),
  ];
}

/** Segments stand for ranges of runs that follow each other without a gap, from 1 on. */
function rangeProblems(
  segments: readonly SegmentDescriptor[],
  appliedThrough: number,
): readonly string[] {
  const problems: string[] = [];
  let after = 0;
  for (const { firstSequence, lastSequence } of segments) {
    const range = `the segment of runs ${firstSequence} to ${lastSequence}`;
    if (firstSequence !== after + 1) problems.push(`${range} does not follow run ${after}`);
    if (lastSequence < firstSequence) problems.push(`${range} ends before it begins`);
    after = lastSequence;
  }
  if (after > appliedThrough) {
    problems.push(`its segments hold runs up to ${after}, it says ${appliedThrough}`);
  }
  return problems;
}

function exclusionProblems({ from, to }: Exclusion, appliedThrough: number): readonly string[] {
  const range = `the exclusion of runs ${from} to ${to}`;
  return broken([
    [from <= to, `${range} ends before it begins`],
    [to <= appliedThrough, `${range} reaches beyond run ${appliedThrough}, the last applied one`],
  ]);
}

/** I4: what is wrong between a version and its parent. */
export function parentProblems(
  child: SnapshotManifest,
  parent: SnapshotManifest,
): readonly string[] {
  const down = (what: "epoch" | "appliedThrough") =>
    `its ${what} went from ${parent[what]} down to ${child[what]}`;
  return [
    ...broken([
      [child.epoch > parent.epoch, `its epoch went from ${parent.epoch} to ${child.epoch}`],
      [child.appliedThrough >= parent.appliedThrough, down("appliedThrough")],
      [
        child.appliedThrough !== parent.appliedThrough || child.runsHash === parent.runsHash,
        "it applies the runs of its parent, but names another history of them",
      ],
    ]),
    ...parent.excluded
      .filter((exclusion) => !child.excluded.some((other) => inherits(other, exclusion)))
      .map(({ from, to }) => `it lost its parent's exclusion of runs ${from} to ${to}`),
    ...child.segments
      .filter((segment) => !copiedVerbatim(segment, parent.segments))
      .map(({ object }) => `it describes segment "${object.key}" in another way than its parent`),
  ];
}

/** Only `retriedBy` may change, once. */
function inherits(own: Exclusion, inherited: Exclusion): boolean {
  const { retriedBy } = inherited;
  return same(own, retriedBy === null ? { ...inherited, retriedBy: own.retriedBy } : inherited);
}

/** Sidecars may be added by any later version. */
function copiedVerbatim(segment: SegmentDescriptor, others: readonly SegmentDescriptor[]): boolean {
  const other = others.find(({ object }) => object.key === segment.object.key);
  return other === undefined || same({ ...other, sidecars: [] }, { ...segment, sidecars: [] });
}

const COMMON_FIELDS = [
  "collection",
  "storeId",
  "shard",
  "version",
  "commitId",
  "epoch",
  "appliedThrough",
  "runsHash",
] as const;

/** What is wrong between a pointer and the manifest that it names. */
export function pointerProblems(
  pointer: Pointer,
  manifest: SnapshotManifest,
  shard: ShardRef,
): readonly string[] {
  const { version, commitId, ancestors } = pointer;
  const [last] = ancestors.slice(-1);
  const { parent } = manifest;
  return broken([
    ...COMMON_FIELDS.map(
      (field) =>
        [pointer[field] === manifest[field], `its ${field} is not the manifest's`] as const,
    ),
    [
      pointer.manifest.key === manifestKey(shard, version, commitId),
      "its manifest has the key of another version",
    ],
    [
      pointer.parentCommitId === (parent?.commitId ?? null),
      "its parent is another one than the manifest's",
    ],
    [
      last?.commitId === parent?.commitId && last?.version === parent?.version,
      "its last ancestor is another one than the manifest's parent",
    ],
    [
      ancestors.length === Math.min(version, ANCESTORS_MAX) &&
        ancestors.every(
          (ancestor, index) => ancestor.version === version - ancestors.length + index,
        ),
      `its ancestors are not the ${Math.min(version, ANCESTORS_MAX)} versions before it`,
    ],
    [pointer.committedAt === manifest.stats.committedAt, "it was committed at another time"],
  ]);
}
