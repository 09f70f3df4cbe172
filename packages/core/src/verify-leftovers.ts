/** What lies in a shard's folder and nothing references: told, never damage, never deleted here. */
import { PLAN_BYTES_MAX } from "./collector-plan.ts";
import { parseCollectorPlan } from "./formats.ts";
import {
  deltaKey,
  deltasPrefix,
  planKey,
  plansPrefix,
  pointerKey,
  runIdOfKey,
  shardPartition,
  shardPrefix,
  snapshotsPrefix,
} from "./object-keys.ts";
import type { ListedObject, ShardRef } from "./ports.ts";
import type { SiltError } from "./silt-error.ts";
import type { ShardContext } from "./verify-context.ts";
import { unlessDamaged, unlessLogDamaged } from "./verify-report.ts";
import type { KnownVersions } from "./verify-versions.ts";

const PAGE = 1_000;
const VERSION_PREFIX = /^(0|[1-9][0-9]*)-[0-9a-z]+\//;

/** `known` is undefined when the shard's versions are not: then nothing is said about them. */
export async function reportLeftovers(
  context: ShardContext,
  known: KnownVersions | undefined,
  currentVersion: number,
): Promise<void> {
  const { ports, shard, signal } = context;
  let after: string | undefined;
  for (;;) {
    signal?.throwIfAborted();
    const page = await ports.objects.list(shardPrefix(shard), {
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    const deltas = page.filter(({ key }) => key.startsWith(deltasPrefix(shard)));
    await reportUnregistered(context, deltas);
    for (const { key } of page) {
      if (key.startsWith(plansPrefix(shard)) && key.endsWith(".json")) {
        await verifyPlan(context, key);
        continue;
      }
      const message = strangerMessage(context, key, known, currentVersion);
      if (message !== undefined) context.findings.notice(key, "leftover", message);
    }
    if (page.length < PAGE) return;
    after = page.at(-1)?.key;
  }
}

/** A plan of the collector: it must be readable and of this shard. One that is gone was replaced. */
async function verifyPlan({ ports, shard, findings }: ShardContext, key: string): Promise<void> {
  const report = ({ message, kind }: SiltError) =>
    findings.problem(key, kind === "invalid" ? "format-unknown" : "plan-damaged", message);
  const plan = await unlessDamaged(async () => {
    const found = await ports.objects.get(key, { bytesMax: PLAN_BYTES_MAX });
    if (found.outcome !== "found") return undefined;
    findings.count({ objects: 1, bytes: found.bytes.byteLength });
    return parseCollectorPlan(found.bytes, `plan "${key}"`);
  }, report);
  if (plan === undefined || (isOf(plan, shard) && key === planKey(shard, plan.planId))) return;
  findings.problem(key, "plan-damaged", `It is plan ${plan.planId} of ${shardPartition(plan)}`);
}

const isOf = (plan: ShardRef, { collection, storeId, shard }: ShardRef): boolean =>
  plan.collection === collection && plan.storeId === storeId && plan.shard === shard;

async function reportUnregistered(
  { ports, shard, findings }: ShardContext,
  deltas: readonly ListedObject[],
): Promise<void> {
  const runIds = deltas.flatMap(({ key }) => runIdOfKey(shard, key) ?? []);
  if (runIds.length === 0) return;
  // Run ids that cannot be read are a problem that is told with the runs.
  const states = await unlessLogDamaged(
    () => ports.log.readRunIds(runIds.map((runId) => ({ shard, runId }))),
    () => {},
  );
  for (const [index, state] of (states ?? []).entries()) {
    if (state.state === "registered") continue;
    const message =
      state.state === "abandoned"
        ? "Its run was given up; nobody reads it"
        : "Its run is not registered: a writer is at work, or died before it could register; nobody reads it";
    findings.notice(deltaKey(shard, runIds[index] as string), "leftover", message);
  }
}

/** Why a key is a leftover, or undefined. */
function strangerMessage(
  { shard }: ShardContext,
  key: string,
  known: KnownVersions | undefined,
  currentVersion: number,
): string | undefined {
  if (key === pointerKey(shard)) return undefined;
  const nobody = "It has no name that Silt gives; nobody reads it";
  if (key.startsWith(deltasPrefix(shard))) {
    return runIdOfKey(shard, key) === undefined ? nobody : undefined;
  }
  const prefix = snapshotsPrefix(shard);
  if (!key.startsWith(prefix)) return nobody;
  const [versionPrefix] = VERSION_PREFIX.exec(key.slice(prefix.length)) ?? [];
  if (versionPrefix === undefined) return nobody;
  if (known === undefined || known.referenced.has(key)) return undefined;
  if (known.opaque.has(prefix + versionPrefix)) return undefined;
  return Number.parseInt(versionPrefix, 10) > currentVersion
    ? "No pointer names its version: a compaction is at work, or was given up; nobody reads it"
    : "No version that is left names it; nobody reads it";
}
