/** A version that is not the current one, to its last row. */
import { findVersion, readHistory } from "./history.ts";
import type { ShardRef } from "./ports.ts";
import type { VerifyContext } from "./verify-context.ts";
import { unlessDamaged } from "./verify-report.ts";
import { verifySegment } from "./verify-segment.ts";

/**
 * Checks each segment of a version as those of the current one are checked. A history that cannot be read
 * is named by the verification of its shard; throws `invalid` for a version that is not there.
 */
export async function verifyOldVersion(
  context: VerifyContext,
  shard: ShardRef,
  version: number,
): Promise<void> {
  const history = await unlessDamaged(
    () => readHistory(context.ports, shard),
    () => {},
  );
  if (history === undefined) return;
  const { manifest } = findVersion(shard, history, version);
  const inside = { ...context, shard, vectors: manifest.vectors, deltasKeptUntil: undefined };
  for (const segment of manifest.segments) {
    context.signal?.throwIfAborted();
    await verifySegment(inside, manifest, segment, true);
  }
}
