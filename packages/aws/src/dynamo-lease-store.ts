/**
 * Leases as items that are never deleted, so that epochs only rise:
 *
 *     LEASE   epoch N, holder S? (absent: free), ttlMs N, expiresAtMs N, expiresAt S, writeId S
 *
 * Expiry is judged by who wants the lease, never by the service's TTL, which is hours late (F12).
 * `writeId` names the acquire or release that made the item so: a request that the SDK repeated
 * because its answer was lost meets its own success, and knows it by that name.
 */
import { randomUUID } from "node:crypto";
import {
  type AcquireOutcome,
  type Clock,
  isSiltError,
  type Lease,
  type LeaseStore,
  type ShardRef,
  SiltError,
  shardPartition,
} from "@silt/core";
import {
  attributesOf,
  checkHeader,
  header,
  type Item,
  leaseKey,
  number,
  numberOf,
  text,
  textOf,
} from "./dynamo-items.ts";
import {
  createDynamoTable,
  type DynamoTable,
  type DynamoTableOptions,
  type WriteOutcome,
} from "./dynamo-table.ts";

interface LeaseItem {
  readonly epoch: number;
  /** Undefined when the lease is free. */
  readonly holder: string | undefined;
  readonly expiresAtMs: number;
  readonly writeId: string;
}

type AcquireOptions = Parameters<LeaseStore["acquire"]>[1];

/** Who is overtaken so often finds it held, and not once more free. */
const ACQUIRE_ATTEMPTS_MAX = 5;
const ACQUIRE = "acquire a lease";
/** Epochs are never given twice, so holder and epoch name one lease. */
const IS_STILL = "holder = :holder AND epoch = :epoch";

/** A LeaseStore in the log table. Times are of `clock`. */
export function createDynamoLeaseStore(options: DynamoTableOptions, clock: Clock): LeaseStore {
  const table = createDynamoTable(options);
  return {
    acquire: (shard, wanted) => acquire(table, clock, shard, wanted),
    async extend(lease, ttlMs) {
      const expiresAtMs = clock.nowMs() + ttlMs;
      const updated = await table.update("extend a lease", leaseKey(lease.shard), {
        UpdateExpression: "SET ttlMs = :ttlMs, expiresAtMs = :expiresAtMs, expiresAt = :expiresAt",
        ConditionExpression: IS_STILL,
        ExpressionAttributeValues: { ...idOf(lease), ...valuesOf(times(ttlMs, expiresAtMs)) },
      });
      return updated.outcome === "written" ? "extended" : "lost";
    },
    async release(lease) {
      const writeId = randomUUID();
      const updated = await table.update("release a lease", leaseKey(lease.shard), {
        UpdateExpression: "SET writeId = :writeId REMOVE holder",
        ConditionExpression: IS_STILL,
        ExpressionAttributeValues: { ...idOf(lease), ":writeId": text(writeId) },
      });
      const ours = updated.outcome === "written" || updated.item?.writeId?.S === writeId;
      return ours ? "released" : "lost";
    },
    async read(shard) {
      const item = await readItem(table, shard, "read a lease");
      if (item?.holder === undefined) return undefined;
      const { holder, epoch, expiresAtMs } = item;
      return { shard, holder, epoch, expiresAtMs };
    },
  };
}

async function acquire(
  table: DynamoTable,
  clock: Clock,
  shard: ShardRef,
  { holder, ttlMs, skewMs, aboveEpoch }: AcquireOptions,
): Promise<AcquireOutcome> {
  const writeId = randomUUID();
  let found = await readItem(table, shard, ACQUIRE);
  for (let attempt = 1; attempt <= ACQUIRE_ATTEMPTS_MAX; attempt++) {
    const nowMs = clock.nowMs();
    if (found?.holder !== undefined && nowMs <= found.expiresAtMs + skewMs) {
      return { outcome: "held", by: found.holder, expiresAtMs: found.expiresAtMs };
    }
    const epoch = Math.max(found?.epoch ?? 0, aboveEpoch) + 1;
    const next = { holder, epoch, expiresAtMs: nowMs + ttlMs, writeId };
    const put = { Item: leaseItem(shard, next, ttlMs), ...unchanged(found) };
    const seen = await writeOrLook(table, shard, writeId, () => table.put(ACQUIRE, put));
    if (seen.outcome === "written") {
      const { expiresAtMs } = next;
      return { outcome: "acquired", lease: { shard, holder, epoch, expiresAtMs } };
    }
    found = seen.item && parseLease(shard, seen.item);
  }
  throw new SiltError(
    "unavailable",
    `Cannot ${ACQUIRE} "${shardPartition(shard)}": others were faster ${ACQUIRE_ATTEMPTS_MAX} times; try again`,
  );
}

/**
 * Written also when the answer was lost, as what is there tells: else a lease of our own would lock
 * us out until it runs out.
 */
async function writeOrLook(
  table: DynamoTable,
  shard: ShardRef,
  writeId: string,
  write: () => Promise<WriteOutcome>,
): Promise<WriteOutcome> {
  let outcome: WriteOutcome;
  try {
    outcome = await write();
  } catch (error) {
    if (!isSiltError(error, "unavailable")) throw error;
    const found = await table.get(ACQUIRE, leaseKey(shard)).catch(() => undefined);
    if (found?.writeId?.S !== writeId) throw error;
    return { outcome: "written" };
  }
  const ours = outcome.outcome === "refused" && outcome.item?.writeId?.S === writeId;
  return ours ? { outcome: "written" } : outcome;
}

async function readItem(
  table: DynamoTable,
  shard: ShardRef,
  action: string,
): Promise<LeaseItem | undefined> {
  const item = await table.get(action, leaseKey(shard));
  return item && parseLease(shard, item);
}

function parseLease(shard: ShardRef, item: Item): LeaseItem {
  const what = `LEASE of "${shardPartition(shard)}"`;
  checkHeader(item, what);
  return {
    epoch: numberOf(item, "epoch", what),
    holder: item.holder === undefined ? undefined : textOf(item, "holder", what),
    expiresAtMs: numberOf(item, "expiresAtMs", what),
    writeId: textOf(item, "writeId", what),
  };
}

const leaseItem = (
  shard: ShardRef,
  { holder, epoch, expiresAtMs, writeId }: Omit<Lease, "shard"> & { readonly writeId: string },
  ttlMs: number,
): Item => ({
  ...attributesOf(leaseKey(shard)),
  ...header(),
  holder: text(holder),
  epoch: number(epoch),
  ...times(ttlMs, expiresAtMs),
  writeId: text(writeId),
});

const times = (ttlMs: number, expiresAtMs: number): Item => ({
  ttlMs: number(ttlMs),
  expiresAtMs: number(expiresAtMs),
  // For who reads the table.
  expiresAt: text(new Date(expiresAtMs).toISOString()),
});

const valuesOf = (item: Item): Item =>
  Object.fromEntries(Object.entries(item).map(([name, value]) => [`:${name}`, value]));

const idOf = ({ holder, epoch }: Lease): Item => ({
  ":holder": text(holder),
  ":epoch": number(epoch),
});

/** Nobody took, extended or released the lease since it was read. */
function unchanged(found: LeaseItem | undefined) {
  if (found === undefined) return { ConditionExpression: "attribute_not_exists(pk)" };
  const { epoch, holder, expiresAtMs } = found;
  const seen = { ":epoch": number(epoch), ":expiresAtMs": number(expiresAtMs) };
  const condition = "epoch = :epoch AND expiresAtMs = :expiresAtMs";
  return holder === undefined
    ? {
        ConditionExpression: `${condition} AND attribute_not_exists(holder)`,
        ExpressionAttributeValues: seen,
      }
    : {
        ConditionExpression: `${condition} AND holder = :holder`,
        ExpressionAttributeValues: { ...seen, ":holder": text(holder) },
      };
}
