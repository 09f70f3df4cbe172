import { type Clock, type Lease, type LeaseStore, type ShardRef, shardPartition } from "@silt/core";
import type { SqliteConnection } from "./sqlite-connection.ts";

interface LeaseRow {
  readonly epoch: number;
  /** Null when the lease is free. */
  readonly holder: string | null;
  readonly expires_at_ms: number;
}

/** Leases as rows that are never deleted, so that epochs only rise. Times are of `clock`. */
export function createSqliteLeaseStore(connection: SqliteConnection, clock: Clock): LeaseStore {
  const find = (shard: ShardRef) =>
    connection.get<LeaseRow>(
      "SELECT epoch, holder, expires_at_ms FROM sound_leases WHERE partition = ?",
      shardPartition(shard),
    );
  const isStill = (lease: Lease) => {
    const row = find(lease.shard);
    return row?.holder === lease.holder && row.epoch === lease.epoch;
  };
  return {
    acquire(shard, { holder, ttlMs, skewMs, aboveEpoch }) {
      return connection.write("acquire a lease", () => {
        const nowMs = clock.nowMs();
        const row = find(shard);
        if (row !== undefined && row.holder !== null && nowMs <= row.expires_at_ms + skewMs) {
          return { outcome: "held", by: row.holder, expiresAtMs: row.expires_at_ms };
        }
        const epoch = Math.max(row?.epoch ?? 0, aboveEpoch) + 1;
        const expiresAtMs = nowMs + ttlMs;
        connection.run(
          "INSERT INTO leases (partition, epoch, holder, ttl_ms, expires_at_ms) VALUES (?, ?, ?, ?, ?) " +
            "ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch, holder = excluded.holder, " +
            "ttl_ms = excluded.ttl_ms, expires_at_ms = excluded.expires_at_ms",
          shardPartition(shard),
          epoch,
          holder,
          ttlMs,
          expiresAtMs,
        );
        return { outcome: "acquired", lease: { shard, holder, epoch, expiresAtMs } };
      });
    },
    extend(lease, ttlMs) {
      return connection.write("extend a lease", () => {
        if (!isStill(lease)) return "lost";
        connection.run(
          "UPDATE leases SET ttl_ms = ?, expires_at_ms = ? WHERE partition = ?",
          ttlMs,
          clock.nowMs() + ttlMs,
          shardPartition(lease.shard),
        );
        return "extended";
      });
    },
    release(lease) {
      return connection.write("release a lease", () => {
        if (!isStill(lease)) return "lost";
        connection.run(
          "UPDATE leases SET holder = NULL WHERE partition = ?",
          shardPartition(lease.shard),
        );
        return "released";
      });
    },
    read(shard) {
      return connection.read("read a lease", () => {
        const row = find(shard);
        if (row === undefined || row.holder === null) return undefined;
        return { shard, holder: row.holder, epoch: row.epoch, expiresAtMs: row.expires_at_ms };
      });
    },
  };
}
