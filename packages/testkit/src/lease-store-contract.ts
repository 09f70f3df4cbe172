import type { AcquireOutcome, Lease, LeaseStore, ShardRef } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createVirtualClock, type VirtualClock } from "./virtual-clock.ts";

export interface OpenedLeaseStore {
  readonly leases: LeaseStore;
  dispose(): Promise<void>;
}

const SHARD: ShardRef = { collection: "lines", storeId: "store0000001", shard: "0-of-2" };
const OTHER: ShardRef = { ...SHARD, shard: "1-of-2" };
const TTL_MS = 30_000;
const SKEW_MS = 2_000;

function leaseOf(outcome: AcquireOutcome): Lease {
  if (outcome.outcome !== "acquired") throw new Error(`held by ${outcome.by}`);
  return outcome.lease;
}

/** What every LeaseStore must do. `open` gives an empty one whose time is the given clock's. */
export function leaseStoreContract(
  name: string,
  open: (clock: VirtualClock) => Promise<OpenedLeaseStore>,
): void {
  describe(`LeaseStore: ${name}`, () => {
    let opened: OpenedLeaseStore;
    let leases: LeaseStore;
    let clock: VirtualClock;
    const acquire = (holder: string, aboveEpoch = 0, shard = SHARD) =>
      leases.acquire(shard, { holder, ttlMs: TTL_MS, skewMs: SKEW_MS, aboveEpoch });
    beforeEach(async () => {
      clock = createVirtualClock();
      opened = await open(clock);
      leases = opened.leases;
    });
    afterEach(() => opened.dispose());

    it("a free lease is acquired, and then held for everyone, its holder too", async () => {
      expect(await leases.read(SHARD)).toBeUndefined();
      const lease = leaseOf(await acquire("ann"));
      expect(lease).toEqual({
        shard: SHARD,
        holder: "ann",
        epoch: 1,
        expiresAtMs: clock.nowMs() + TTL_MS,
      });
      expect(await leases.read(SHARD)).toEqual(lease);
      const held = { outcome: "held", by: "ann", expiresAtMs: lease.expiresAtMs };
      expect(await acquire("bob")).toEqual(held);
      expect(await acquire("ann")).toEqual(held);
    });

    it("leases of two shards know nothing of each other", async () => {
      await acquire("ann");
      expect(leaseOf(await acquire("bob", 0, OTHER)).epoch).toBe(1);
    });

    it("exactly one of 20 acquires at once gets the lease", async () => {
      const holders = Array.from({ length: 20 }, (_, index) => `holder ${index}`);
      const outcomes = await Promise.all(holders.map((holder) => acquire(holder)));
      const won = outcomes.filter(({ outcome }) => outcome === "acquired");
      expect(won).toHaveLength(1);
      expect((await leases.read(SHARD))?.holder).toBe(leaseOf(won[0] as AcquireOutcome).holder);
    });

    it("F12 a lease is taken over only after its expiry and the margin for skew", async () => {
      await acquire("ann");
      await clock.advance(TTL_MS + SKEW_MS);
      expect((await acquire("bob")).outcome).toBe("held");
      await clock.advance(1);
      expect(leaseOf(await acquire("bob"))).toMatchObject({ holder: "bob", epoch: 2 });
    });

    it("F12 a wall clock that jumps back frees no lease", async () => {
      await acquire("ann");
      clock.jump(-3_600_000);
      expect((await acquire("bob")).outcome).toBe("held");
    });

    it("extend() moves the expiry on", async () => {
      const lease = leaseOf(await acquire("ann"));
      await clock.advance(20_000);
      expect(await leases.extend(lease, TTL_MS)).toBe("extended");
      expect((await leases.read(SHARD))?.expiresAtMs).toBe(clock.nowMs() + TTL_MS);
      await clock.advance(TTL_MS + SKEW_MS);
      expect((await acquire("bob")).outcome).toBe("held");
    });

    it("F4 extend() and release() are lost after a takeover, and leave the new lease alone", async () => {
      const old = leaseOf(await acquire("ann"));
      await clock.advance(TTL_MS + SKEW_MS + 1);
      const now = leaseOf(await acquire("bob"));
      expect(await leases.extend(old, TTL_MS)).toBe("lost");
      expect(await leases.release(old)).toBe("lost");
      expect(await leases.read(SHARD)).toEqual(now);
    });

    it("F4 the same holder's older lease is lost too", async () => {
      const old = leaseOf(await acquire("ann"));
      await clock.advance(TTL_MS + SKEW_MS + 1);
      const now = leaseOf(await acquire("ann"));
      expect(now.epoch).toBe(2);
      expect(await leases.extend(old, TTL_MS)).toBe("lost");
      expect(await leases.release(old)).toBe("lost");
      expect(await leases.read(SHARD)).toEqual(now);
    });

    it("F14 only the owner releases, once", async () => {
      const lease = leaseOf(await acquire("ann"));
      expect(await leases.release({ ...lease, holder: "bob" })).toBe("lost");
      expect(await leases.release({ ...lease, epoch: lease.epoch + 1 })).toBe("lost");
      expect(await leases.read(SHARD)).toEqual(lease);
      expect(await leases.release(lease)).toBe("released");
      expect(await leases.read(SHARD)).toBeUndefined();
      expect(await leases.release(lease)).toBe("lost");
      expect(await leases.extend(lease, TTL_MS)).toBe("lost");
      expect(await leases.read(SHARD)).toBeUndefined();
    });

    it("F14 a lease that was never given is lost", async () => {
      const never = { shard: SHARD, holder: "ann", epoch: 1, expiresAtMs: clock.nowMs() };
      expect(await leases.release(never)).toBe("lost");
      expect(await leases.extend(never, TTL_MS)).toBe("lost");
      expect(await leases.read(SHARD)).toBeUndefined();
    });

    it("F14 epochs rise across releases and takeovers, and above the pointer's", async () => {
      const first = leaseOf(await acquire("ann"));
      await leases.release(first);
      const second = leaseOf(await acquire("bob"));
      expect(second.epoch).toBe(first.epoch + 1);
      await leases.release(second);
      const third = leaseOf(await acquire("ann", 41));
      expect(third.epoch).toBe(42);
      await leases.release(third);
      expect(leaseOf(await acquire("bob", 7)).epoch).toBe(43);
    });

    it("a holder may extend an expired lease that nobody took", async () => {
      const lease = leaseOf(await acquire("ann"));
      await clock.advance(TTL_MS + SKEW_MS + 1);
      expect(await leases.extend(lease, TTL_MS)).toBe("extended");
      expect((await acquire("bob")).outcome).toBe("held");
    });
  });
}
