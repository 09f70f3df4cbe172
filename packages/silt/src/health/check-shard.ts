/** The health of one shard: does it belong together, does anything wait or lie about. */
import {
  findCandidates,
  type Head,
  isSiltError,
  type Lease,
  type Policy,
  type Ports,
  readHistory,
  readShardStatus,
  type ShardRef,
  type ShardStatus,
  viewForCollector,
  whyStuck,
} from "@silt/core";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCounted } from "../terminal/format-counted.ts";
import { formatDuration } from "../terminal/format-duration.ts";
import { type HealthCheck, notice, ok, problem } from "./health-report.ts";

/** Checks a shard; damage is one of its lines, never thrown. */
export async function checkShard(
  ports: Ports,
  shard: ShardRef,
  policy: Policy,
  stuckAfterMs: number,
): Promise<readonly HealthCheck[]> {
  const name = `${shard.collection} ${shard.shard}`;
  try {
    const status = await readShardStatus(ports, shard);
    const lease = await ports.leases.read(shard);
    return [
      summaryOf(name, status),
      ...(await waiting(ports, shard, name, status, lease, stuckAfterMs)),
      ...leftOut(name, status),
      ...leaseLine(ports, name, lease),
      ...announcement(name, await ports.log.readHead(shard), lease),
      ...(await leftovers(ports, shard, name, policy)),
    ];
  } catch (error) {
    if (!isSiltError(error, "corrupt") && !isSiltError(error, "invalid")) throw error;
    return [
      problem(name, error.message, 'Run "silt verify": it names every damage and its remedy.'),
    ];
  }
}

function summaryOf(name: string, status: ShardStatus): HealthCheck {
  const { version, rows, segments, bytes, secondsSinceFlip } = status;
  const flipped =
    secondsSinceFlip === null
      ? "never compacted"
      : `flipped ${formatDuration(secondsSinceFlip * 1000)} ago`;
  return ok(
    name,
    `version ${version}, ${formatCounted(rows, "row")} in ${formatCounted(segments, "segment")}, ${formatBytes(bytes)}, ${flipped}`,
  );
}

async function waiting(
  ports: Ports,
  shard: ShardRef,
  name: string,
  { pending, oldestPendingSeconds, appliedThrough }: ShardStatus,
  lease: Lease | undefined,
  stuckAfterMs: number,
): Promise<readonly HealthCheck[]> {
  if (pending === 0 || oldestPendingSeconds === null) return [];
  const ageMs = oldestPendingSeconds * 1000;
  const told = `${formatCounted(pending, "run")} pending, the oldest for ${formatDuration(ageMs)}`;
  const [oldest] = await ports.log.readRuns(shard, { after: appliedThrough, limit: 1 });
  if (ageMs <= stuckAfterMs || oldest === undefined) {
    return [notice(name, told, '"silt compact" applies them.')];
  }
  const why = await whyStuck(ports, oldest, lease);
  return [problem(name, `${told}: ${why}`, `"silt compact ${shard.collection}" says what fails.`)];
}

function leftOut(name: string, { excluded, rolledBack }: ShardStatus): readonly HealthCheck[] {
  return [
    ...(excluded === 0
      ? []
      : [
          problem(
            name,
            `excluded: ${formatCounted(excluded, "acknowledged run")}`,
            '"silt quarantine list" says why; "silt quarantine retry RUN" brings one back.',
          ),
        ]),
    ...(rolledBack === 0
      ? []
      : [notice(name, `undone by rollbacks: ${formatCounted(rolledBack, "run")}`, null)]),
  ];
}

function leaseLine(ports: Ports, name: string, lease: Lease | undefined): readonly HealthCheck[] {
  if (lease === undefined) return [];
  const leftMs = lease.expiresAtMs - ports.clock.nowMs();
  if (leftMs >= 0) return [ok(name, `"${lease.holder}" compacts it now`)];
  const told = `"${lease.holder}" died while it compacted, ${formatDuration(-leftMs)} ago`;
  return [notice(name, told, "The next compaction takes its lease over.")];
}

/** Conditional deletes wait for as long as somebody says that he is about to exclude runs. */
function announcement(
  name: string,
  head: Head | undefined,
  lease: Lease | undefined,
): readonly HealthCheck[] {
  if (head === undefined || head.excluding === null || lease !== undefined) return [];
  const told =
    "somebody died while he excluded runs or rolled back; deletes by filter wait for him";
  return [notice(name, told, '"silt compact" resolves it.')];
}

async function leftovers(
  ports: Ports,
  shard: ShardRef,
  name: string,
  { retention }: Policy,
): Promise<readonly HealthCheck[]> {
  const history = await readHistory(ports, shard);
  const view = await viewForCollector(ports, shard, history, retention);
  const found = await findCandidates(ports, shard, view);
  const { version } = history.read.pointer;
  const pins = history.versions.flatMap((known) => known.pins);
  const resolved = pins.filter(({ baseVersion }) => baseVersion !== null && baseVersion < version);
  const bytes = found.reduce((sum, candidate) => sum + candidate.bytes, 0);
  return [
    ...(found.length === 0
      ? []
      : [
          notice(
            name,
            `no longer needed: ${formatCounted(found.length, "object")}, ${formatBytes(bytes)}`,
            '"silt gc" names them.',
          ),
        ]),
    ...(resolved.length === 0
      ? []
      : [notice(name, "a rollback that ended still holds a version", '"silt sweep" lets it go.')]),
  ];
}
