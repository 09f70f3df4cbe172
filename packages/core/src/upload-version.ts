/** A new version under a prefix that no other attempt uses. It is invisible until the pointer names it. */
import { lanesToHex } from "./digest.ts";
import {
  type Exclusion,
  encodeJson,
  FORMAT,
  type ObjectRef,
  type Pointer,
  type SegmentDescriptor,
  type SnapshotManifest,
  seal,
  sha256Of,
  type VectorField,
} from "./formats.ts";
import { shortId } from "./ids.ts";
import { manifestKey, segmentKey } from "./object-keys.ts";
import { type CompactionPlan, tombstonesSinceOf } from "./plan-compaction.ts";
import type { Lease, MergedSegment, Ports, ShardRef } from "./ports.ts";
import { storeImmutable } from "./publish-delta.ts";
import { countRows } from "./row.ts";
import type { ShardState } from "./shard-state.ts";
import { nextAncestors } from "./snapshot-pointer.ts";

/** A merge's output and the runs that it stands for. */
export interface MergeOutput {
  readonly merged: MergedSegment;
  readonly firstSequence: number;
  readonly lastSequence: number;
}

export interface VersionParts {
  readonly state: ShardState;
  readonly plan: CompactionPlan;
  readonly excluded: readonly Exclusion[];
  /** Undefined when nothing was merged. */
  readonly result: MergeOutput | undefined;
}

/** Stores segment, then manifest, each read back; gives the pointer that would name them. */
export async function uploadVersion(
  ports: Pick<Ports, "objects" | "clock" | "random">,
  { shard, epoch }: Pick<Lease, "shard" | "epoch">,
  vectors: readonly VectorField[],
  { plan, state, result, excluded }: VersionParts,
  onProgress?: (step: string, done: number, total: number) => void,
): Promise<Pointer> {
  const { pointer } = state.base;
  const commitId = shortId(ports.random.bytes(8));
  const version = pointer.version + 1;
  const segments = [...plan.kept];
  if (result !== undefined && countRows(result.merged.rows) + result.merged.replaced > 0) {
    const { merged, firstSequence, lastSequence } = result;
    const { bytes, sha256 } = merged;
    const key = segmentKey(shard, version, commitId, { firstSequence, lastSequence });
    const object: ObjectRef = { key, bytes, sha256, codec: "none" };
    onProgress?.("upload", 0, bytes);
    await storeImmutable(ports.objects, object, merged.source);
    segments.push({
      object,
      firstSequence,
      lastSequence,
      rows: merged.rows,
      replaced: merged.replaced,
      sums: { v: lanesToHex(merged.sums.v), t: lanesToHex(merged.sums.t) },
      tombstonesSince: tombstonesSinceOf(merged, plan.merged, plan.runs),
      sidecars: [],
    });
  }
  const committedAt = new Date(ports.clock.nowMs()).toISOString();
  const identityOf = {
    collection: shard.collection,
    storeId: shard.storeId,
    shard: shard.shard,
    version,
    commitId,
    epoch,
    ...appliedAfter(state, plan),
  };
  const manifest: SnapshotManifest = {
    format: FORMAT,
    requires: [],
    kind: "snapshot",
    ...identityOf,
    parent: { version: pointer.version, commitId: pointer.commitId, manifest: pointer.manifest },
    parentManifestSha256: pointer.manifest.sha256,
    vectors: [...vectors],
    segments,
    excluded: [...excluded],
    stats: statsOf(segments, committedAt),
  };
  const ref = await storeManifest(ports, shard, manifest);
  return seal({
    format: FORMAT as 1,
    requires: [],
    ...identityOf,
    manifest: ref,
    parentCommitId: pointer.commitId,
    ancestors: nextAncestors(pointer),
    committedAt,
  });
}

/** The summary of a version. */
export function statsOf(
  segments: readonly SegmentDescriptor[],
  committedAt: string,
): SnapshotManifest["stats"] {
  return {
    rows: segments.reduce((sum, segment) => sum + countRows(segment.rows), 0),
    segments: segments.length,
    bytes: segments.reduce((sum, segment) => sum + segment.object.bytes, 0),
    committedAt,
  };
}

/** Stores a manifest under its version's own prefix and reads it back. */
export async function storeManifest(
  ports: Pick<Ports, "objects">,
  shard: ShardRef,
  manifest: SnapshotManifest,
): Promise<ObjectRef> {
  const bytes = encodeJson(manifest);
  const key = manifestKey(shard, manifest.version, manifest.commitId);
  const ref: ObjectRef = { key, bytes: bytes.byteLength, sha256: sha256Of(bytes), codec: "none" };
  await storeImmutable(ports.objects, ref, { kind: "bytes", bytes });
  return ref;
}

/** How far the log is applied once a plan is. */
export function appliedAfter(
  state: Pick<ShardState, "base">,
  plan: CompactionPlan,
): { appliedThrough: number; runsHash: string } {
  const last = plan.runs.at(-1);
  const { appliedThrough, runsHash } = state.base.pointer;
  return last === undefined
    ? { appliedThrough, runsHash }
    : { appliedThrough: last.sequence, runsHash: last.runsHash };
}
