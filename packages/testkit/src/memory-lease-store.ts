import { type Clock, type Lease, type LeaseStore, shardPartition } from "@silt/core";

interface LeaseState {
  readonly epoch: number;
  /** Undefined when the lease is free. */
  readonly holder: string | undefined;
  readonly expiresAtMs: number;
}

/** Leases in a Map, by the times of `clock`. */
export function createMemoryLeaseStore(clock: Clock): LeaseStore {
  const leases = new Map<string, LeaseState>();
  const isStill = (lease: Lease) => {
    const state = leases.get(shardPartition(lease.shard));
    return state?.holder === lease.holder && state.epoch === lease.epoch;
  };
  return {
    async acquire(shard, { holder, ttlMs, skewMs, aboveEpoch }) {
      const nowMs = clock.nowMs();
      const state = leases.get(shardPartition(shard));
      if (state?.holder !== undefined && nowMs <= state.expiresAtMs + skewMs) {
        return { outcome: "held", by: state.holder, expiresAtMs: state.expiresAtMs };
      }
      const epoch = Math.max(state?.epoch ?? 0, aboveEpoch) + 1;
      const expiresAtMs = nowMs + ttlMs;
      leases.set(shardPartition(shard), { epoch, holder, expiresAtMs });
      return { outcome: "acquired", lease: { shard, holder, epoch, expiresAtMs } };
    },
    async extend(lease, ttlMs) {
      if (!isStill(lease)) return "lost";
      const { holder, epoch } = lease;
      const expiresAtMs = clock.nowMs() + ttlMs;
      leases.set(shardPartition(lease.shard), { holder, epoch, expiresAtMs });
      return "extended";
    },
    async release(lease) {
      if (!isStill(lease)) return "lost";
      const { epoch, expiresAtMs } = lease;
      leases.set(shardPartition(lease.shard), { epoch, holder: undefined, expiresAtMs });
      return "released";
    },
    async read(shard) {
      const state = leases.get(shardPartition(shard));
      if (state?.holder === undefined) return undefined;
      const { holder, epoch, expiresAtMs } = state;
      return { shard, holder, epoch, expiresAtMs };
    },
  };
}
