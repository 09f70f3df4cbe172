/** The lease of a compactor while it works. Correctness never rests on it: the flip decides. */

import type { Policy } from "./formats.ts";
import { shardPartition } from "./object-keys.ts";
import type { Lease, Ports, ShardRef } from "./ports.ts";
import { isSiltError, SiltError } from "./silt-error.ts";
import { type ReadPointer, readPointer } from "./snapshot-pointer.ts";

export interface LeaseOptions {
  /** Names the process in the lease and in messages. */
  readonly holder: string;
  readonly signal?: AbortSignal | undefined;
  /** True for a failure of what was asked for, which says nothing about the shard: others may be waiting. */
  readonly isRefusal?: (error: unknown) => boolean;
}

export type LeaseOutcome<T> =
  | { readonly outcome: "done"; readonly value: T }
  | { readonly outcome: "held"; readonly by: string; readonly pointer: ReadPointer["pointer"] };

/**
 * Works under the lease of a shard, kept by heartbeats, with an epoch above all earlier ones; frees it
 * at the end, and hints if something is left to do. Not when the environment or damage stopped the work:
 * it would fail again at once, and hint for ever. Then the sweep hints, or a queue gives the hint again.
 */
export async function underLease<T>(
  ports: Ports,
  policy: Policy,
  shard: ShardRef,
  options: LeaseOptions,
  work: (lease: Lease, signal: AbortSignal) => Promise<T>,
): Promise<LeaseOutcome<T>> {
  options.signal?.throwIfAborted();
  const { pointer } = await readPointer(ports.objects, shard);
  const { ttlMs, skewMs, heartbeatMs } = policy.lease;
  const { holder } = options;
  const aboveEpoch = pointer.epoch;
  const acquired = await ports.leases.acquire(shard, { holder, ttlMs, skewMs, aboveEpoch });
  if (acquired.outcome === "held") return { outcome: "held", by: acquired.by, pointer };
  const heartbeat = keepLease(ports, acquired.lease, ttlMs, heartbeatMs);
  let hint = true;
  try {
    const signal = AbortSignal.any([heartbeat.signal, ...(options.signal ? [options.signal] : [])]);
    return { outcome: "done", value: await work(acquired.lease, signal) };
  } catch (error) {
    hint = isLostRace(error) || options.isRefusal?.(error) === true;
    throw error;
  } finally {
    heartbeat.stop();
    await releaseLease(ports, acquired.lease, { hint });
  }
}

/**
 * Extends the lease until stopped. Its signal aborts when the lease is really lost, or ran out while
 * the store was silent; not when a heartbeat failed (F15).
 */
export function keepLease(
  ports: Pick<Ports, "leases" | "clock" | "logger">,
  lease: Lease,
  ttlMs: number,
  heartbeatMs: number,
): { readonly stop: () => void; readonly signal: AbortSignal } {
  const lost = new AbortController();
  let extending = false;
  let expiresAtMs = lease.expiresAtMs;
  const fence = (why: string) =>
    lost.abort(
      new SiltError("fenced", `Cannot go on compacting "${shardPartition(lease.shard)}": ${why}`),
    );
  const fenceIfExpired = () => {
    if (ports.clock.nowMs() > expiresAtMs)
      fence("the lease ran out while the store did not answer");
  };
  const beat = async () => {
    // A heartbeat that hangs must not hide that the lease ran out.
    if (extending) return fenceIfExpired();
    extending = true;
    const sentAtMs = ports.clock.nowMs();
    try {
      if ((await ports.leases.extend(lease, ttlMs)) === "lost") {
        fence("another compactor took the lease");
      } else expiresAtMs = sentAtMs + ttlMs;
    } catch (error) {
      ports.logger.log("warn", "heartbeat failed", {
        shard: shardPartition(lease.shard),
        error: String(error),
      });
      fenceIfExpired();
    } finally {
      extending = false;
    }
  };
  const stop = ports.clock.every(heartbeatMs, () => void beat());
  return { stop, signal: lost.signal };
}

/** True when others were faster: they may have dropped the hint that we answer for. */
const isLostRace = (error: unknown): boolean =>
  isSiltError(error, "fenced") || isSiltError(error, "conflict");

/** Frees the lease if it is still ours; with `hint`, hints again if something is left to do (F59). */
export async function releaseLease(
  ports: Ports,
  lease: Lease,
  options: { readonly hint: boolean },
): Promise<void> {
  try {
    if ((await ports.leases.release(lease)) === "lost" || !options.hint) return;
    const { pointer } = await readPointer(ports.objects, lease.shard);
    const head = await ports.log.readHead(lease.shard);
    if (head === undefined) return;
    // A hint that met our lease was dropped: whoever releases looks again.
    const behind = head.sequence > pointer.appliedThrough;
    if (behind || head.excluding !== null) await ports.hints.send(lease.shard);
  } catch (error) {
    // The result of the compaction stands; the sweep hints what is forgotten.
    ports.logger.log("warn", "release failed", {
      shard: shardPartition(lease.shard),
      error: String(error),
    });
  }
}
