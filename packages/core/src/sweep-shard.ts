/**
 * What a schedule runs for each shard, so that nothing is forgotten: hints for pending runs that are too
 * old, for announced exclusions, and where nobody writes for tombstones that are due to go (F62); `APPLIED`
 * redone from the pointer; pins of rollbacks that are resolved; and what is stuck, with the reason. Every
 * step may be repeated at any time by anybody.
 */
import { raiseApplied } from "./flip-version.ts";
import type { CompactionPolicy, Run } from "./formats.ts";
import { readVersionItems } from "./history.ts";
import { isRewriteDue } from "./plan-compaction.ts";
import type { Lease, Ports, ShardRef } from "./ports.ts";
import { checkBelongTogether, checkChain } from "./shard-state.ts";
import { type SeenShard, type ShardStatus, statusOf } from "./shard-status.ts";
import { readCurrent } from "./snapshot-pointer.ts";

export interface SweepOptions {
  /** Pending runs older than this are hinted at. */
  readonly hintAfterMs: number;
  /** Pending runs older than this are stuck. */
  readonly stuckAfterMs: number;
  /** The collection's: by it a rewrite is due. */
  readonly compaction: Pick<CompactionPolicy, "tombstoneAgeMs">;
}

/** How the shard was doing, and what was done about it. */
export interface SweepReport extends ShardStatus {
  readonly collection: string;
  /** A compaction is due: runs wait, an exclusion is announced, or deleted data must go. */
  readonly hinted: boolean;
  /** `APPLIED` was behind the pointer: whoever flipped last died before noting it. */
  readonly notedVersion: number | null;
  /** Versions that a rollback no longer holds. */
  readonly unpinned: readonly number[];
  /** Who compacts, or seems to. */
  readonly lease: Lease | undefined;
  /** Why the oldest pending run was not applied in time; null when nothing is stuck. */
  readonly stuck: string | null;
}

/** Sweeps one shard. Throws `corrupt` when log and objects don't belong together. */
export async function sweepShard(
  ports: Ports,
  shard: ShardRef,
  options: SweepOptions,
): Promise<SweepReport> {
  const applied = await ports.log.readApplied(shard);
  const { pointer, manifest } = await readCurrent(ports.objects, shard);
  const head = await ports.log.readHead(shard);
  checkBelongTogether(shard, pointer, head, applied?.version ?? 0);
  const page = { after: pointer.appliedThrough, limit: 1 };
  const [oldest] = await ports.log.readRuns(shard, page);
  if (oldest !== undefined) checkChain(shard, pointer, head, [oldest]);
  const notedVersion = (applied?.version ?? 0) < pointer.version ? pointer.version : null;
  if (notedVersion !== null) await raiseApplied(ports, shard, pointer);
  const ageMs = oldest === undefined ? null : ageOf(ports, oldest);
  const seen = { pointer, manifest, head, oldest };
  const hinted = isHintDue(ports, seen, ageMs, options);
  if (hinted) await ports.hints.send(shard);
  const lease = await ports.leases.read(shard);
  const isStuck = oldest !== undefined && ageMs !== null && ageMs > options.stuckAfterMs;
  return {
    ...statusOf(shard, seen, ports.clock.nowMs()),
    collection: shard.collection,
    hinted,
    notedVersion,
    unpinned: await unpinResolved(ports, shard, pointer.version),
    lease,
    stuck: isStuck ? await whyStuck(ports, oldest, lease) : null,
  };
}

const ageOf = ({ clock }: Ports, { registeredAt }: Run): number =>
  Math.max(0, clock.nowMs() - Date.parse(registeredAt));

function isHintDue(
  { clock }: Ports,
  { manifest, head }: SeenShard,
  ageMs: number | null,
  { hintAfterMs, compaction }: SweepOptions,
): boolean {
  const waits = ageMs !== null && ageMs >= hintAfterMs;
  return waits || head.excluding !== null || isRewriteDue(manifest, compaction, clock.nowMs());
}

/** Any version after its base resolves a rollback: its flip was committed, or can only lose. */
async function unpinResolved(
  ports: Ports,
  shard: ShardRef,
  version: number,
): Promise<readonly number[]> {
  const unpinned: number[] = [];
  for (const item of await readVersionItems(ports, shard)) {
    for (const { owner, baseVersion } of item.pins) {
      if (baseVersion === null || version <= baseVersion) continue;
      await ports.log.unpinVersion(shard, item, owner);
      unpinned.push(item.version);
    }
  }
  return unpinned;
}

/** Why a run that waits for long is not applied. */
export async function whyStuck(
  ports: Ports,
  { sequence, delta }: Run,
  lease: Lease | undefined,
): Promise<string> {
  const bundle = await ports.objects.head(delta.key);
  if (bundle.outcome === "absent") {
    return `bundle "${delta.key}" of run ${sequence} is missing: restore it, or its permissions`;
  }
  if (lease !== undefined && lease.expiresAtMs >= ports.clock.nowMs()) {
    const until = new Date(lease.expiresAtMs).toISOString();
    return `"${lease.holder}" holds the lease until ${until}, but did not get through`;
  }
  return "no compactor is at work: run one, and look at its errors";
}
