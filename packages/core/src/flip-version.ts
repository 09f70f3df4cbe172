/** The flip of a new version, with what the log must say before and after it. */
import type { Pointer } from "./formats.ts";
import { shardPartition } from "./object-keys.ts";
import type { Head, Lease, Ports, ShardRef } from "./ports.ts";
import { checkBelongTogether, checkChain, type ShardState } from "./shard-state.ts";
import { assert, isSiltError, SiltError } from "./silt-error.ts";
import { flipPointer, readPointer } from "./snapshot-pointer.ts";

/**
 * Flips the pointer and notes it; gives the pointer that we lost to, if we did. An exclusion is announced
 * in HEAD first, for conditional deletes must not decide across it, and taken back only by a flip that
 * was committed.
 */
export async function flipVersion(
  ports: Ports,
  { shard, epoch }: Pick<Lease, "shard" | "epoch">,
  state: Pick<ShardState, "base">,
  next: Pointer,
  options: { readonly excludes: boolean; readonly signal: AbortSignal },
): Promise<Pointer | undefined> {
  const { excludes } = options;
  const base = state.base.pointer;
  if (excludes) await ports.log.announceExclusion(shard, next.commitId);
  const head = await readHeadForFlip(ports, shard, base);
  checkBelongTogether(shard, next, head, 0);
  if (head.sequence === next.appliedThrough) checkChain(shard, next, head, []);
  if (excludes && head.excluding !== next.commitId) {
    throw new SiltError(
      "conflict",
      `Cannot exclude runs of "${shardPartition(shard)}": another compactor announced an exclusion too; try again`,
    );
  }
  options.signal.throwIfAborted();
  assert(base.epoch < epoch && next.epoch === epoch, "epochs only rise");
  const flipped = await flipPointer(ports, shard, state.base, next);
  if (flipped.outcome === "unknown") {
    throw new SiltError(
      "unavailable",
      `Cannot tell whether version ${next.version} of "${shardPartition(shard)}" was committed: others have moved on too far; nothing was deleted`,
    );
  }
  if (flipped.outcome === "lost") return flipped.to;
  // Whoever announced before this flip can only lose now, or had committed before our base.
  const { excluding } = head;
  if (excluding !== null) {
    await afterFlip(ports, shard, () => ports.log.resolveExclusion(shard, excluding));
  }
  await raiseApplied(ports, shard, next);
  return undefined;
}

/**
 * HEAD, just before the flip. A pointer that was put back to our base has our base's ETag (F6): the
 * compare-and-swap would take it, but the log has seen the later version.
 */
async function readHeadForFlip(
  ports: Ports,
  shard: ShardRef,
  base: Pointer,
): Promise<Head | undefined> {
  const applied = await ports.log.readApplied(shard);
  if (applied === undefined || applied.version <= base.version) return ports.log.readHead(shard);
  const { pointer } = await readPointer(ports.objects, shard);
  const head = await ports.log.readHead(shard);
  checkBelongTogether(shard, pointer, head, applied.version);
  return head;
}

/** Step 9: the log's note of what is flipped. */
export function raiseApplied(ports: Ports, shard: ShardRef, pointer: Pointer): Promise<void> {
  const { version, appliedThrough } = pointer;
  return afterFlip(ports, shard, () => ports.log.raiseApplied(shard, { version, appliedThrough }));
}

/** The flip stands whatever happens here: the next compactor makes up for it. */
async function afterFlip(ports: Ports, shard: ShardRef, note: () => Promise<void>): Promise<void> {
  try {
    await note();
  } catch (error) {
    if (!isSiltError(error, "unavailable")) throw error;
    ports.logger.log("warn", "log not updated after a flip", {
      shard: shardPartition(shard),
      error: String(error),
    });
  }
}
