/** Pointer, manifest, HEAD and pending runs of a shard, and whether they belong together. */
import type { Pointer, Run, SnapshotManifest } from "./formats.ts";
import { shardPartition } from "./object-keys.ts";
import type { Head, Lease, Ports, ShardRef } from "./ports.ts";
import { nextRunsHash } from "./run-chain.ts";
import { SiltError } from "./silt-error.ts";
import {
  type ReadPointer,
  readManifest,
  readPointer,
  unlessOvertaken,
} from "./snapshot-pointer.ts";

/** What a compaction starts from. */
export interface ShardState {
  readonly base: ReadPointer;
  readonly manifest: SnapshotManifest;
  readonly head: Head;
  /** Runs after `appliedThrough`, without a gap: all of them, or as many as one pass may take. */
  readonly pending: readonly Run[];
  /** The version that the log knows of; behind the pointer's when a flip could not be noted. */
  readonly appliedVersion: number;
}

/**
 * Reads what the next version is computed from. The order `APPLIED`, pointer, HEAD matters: any other
 * reports a false "old pointer". Throws `corrupt` when they don't belong together, and `fenced` when
 * the pointer has seen the epoch of this lease or a later one.
 */
export async function readShardState(
  ports: Pick<Ports, "log" | "objects">,
  { shard, epoch }: Pick<Lease, "shard" | "epoch">,
  runsMax: number,
): Promise<ShardState> {
  const applied = await ports.log.readApplied(shard);
  const base = await readPointer(ports.objects, shard);
  const head = await ports.log.readHead(shard);
  checkBelongTogether(shard, base.pointer, head, applied?.version ?? 0);
  if (base.pointer.epoch >= epoch) {
    throw new SiltError(
      "fenced",
      `Cannot compact "${shardPartition(shard)}": the pointer has epoch ${base.pointer.epoch}, this lease ${epoch}; a newer compactor works`,
    );
  }
  const manifest = await unlessOvertaken(ports.objects, shard, base, () =>
    readManifest(ports.objects, base.pointer),
  );
  const pending = await ports.log.readRuns(shard, {
    after: base.pointer.appliedThrough,
    limit: runsMax,
  });
  checkChain(shard, base.pointer, head, pending);
  checkUpToHead(shard, head, pending, runsMax);
  return { base, manifest, head, pending, appliedVersion: applied?.version ?? 0 };
}

/** A restored table, a wrong bucket or an old pointer must never be compacted. */
export function checkBelongTogether(
  shard: ShardRef,
  pointer: Pointer,
  head: Head | undefined,
  appliedVersion: number,
): asserts head is Head {
  const refuse = (state: string): never => {
    throw new SiltError(
      "corrupt",
      `Cannot use "${shardPartition(shard)}": ${state}; the log and the objects do not belong together, ` +
        'nothing was changed. Restore both from the same moment, then run "silt verify"',
    );
  };
  if (head === undefined) refuse("the log has no HEAD for it");
  else if (head.sequence < pointer.appliedThrough) {
    refuse(
      `the log ends at run ${head.sequence}, the pointer has applied ${pointer.appliedThrough}`,
    );
  }
  if (pointer.version < appliedVersion) {
    refuse(
      `the pointer is at version ${pointer.version}, the log has seen version ${appliedVersion}`,
    );
  }
}

/** Runs must follow the pointer without a gap, and their rolling hash must continue its own. */
export function checkChain(
  shard: ShardRef,
  pointer: Pick<Pointer, "appliedThrough" | "runsHash">,
  head: Head,
  pending: readonly Run[],
): void {
  let { appliedThrough: sequence, runsHash } = pointer;
  for (const run of pending) {
    sequence += 1;
    runsHash = nextRunsHash(runsHash, run.runId);
    const continues = run.sequence === sequence && run.runsHash === runsHash;
    if (continues && (sequence !== head.sequence || runsHash === head.runsHash)) continue;
    throw new SiltError(
      "corrupt",
      `Cannot use the log of "${shardPartition(shard)}": run ${run.sequence} does not continue the pointer's history up to HEAD (expected run ${sequence} with hash ${runsHash.slice(0, 12)}…)`,
    );
  }
  // Runs registered since HEAD was read are beyond it; a log that ends early, or elsewhere, is not ours.
  if (pending.length === 0 && head.sequence !== sequence) {
    throw new SiltError(
      "corrupt",
      `Cannot use the log of "${shardPartition(shard)}": HEAD is ${head.sequence}, but no run follows ${sequence}`,
    );
  }
  if (head.sequence === sequence && head.runsHash !== runsHash) {
    throw new SiltError(
      "corrupt",
      `Cannot use the log of "${shardPartition(shard)}": HEAD has another history than the pointer`,
    );
  }
}

/** A log that lost rows before its HEAD must not be taken for one that ends there. */
function checkUpToHead(
  shard: ShardRef,
  head: Head,
  pending: readonly Run[],
  runsMax: number,
): void {
  const last = pending.at(-1);
  if (last === undefined || last.sequence >= head.sequence || pending.length >= runsMax) return;
  throw new SiltError(
    "corrupt",
    `Cannot use the log of "${shardPartition(shard)}": HEAD is ${head.sequence}, but no run follows ${last.sequence}`,
  );
}
