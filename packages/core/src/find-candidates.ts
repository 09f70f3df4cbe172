/** What of a shard nothing needs any more, by one look at its folder, its history and its log. */
import { CANDIDATES_MAX, type Candidate } from "./collector-plan.ts";
import type { CandidateReason, Policy } from "./formats.ts";
import { type History, objectsOf, versionName } from "./history.ts";
import { runIdOfKey, shardPrefix, versionOfKey } from "./object-keys.ts";
import { isOpenExclusion } from "./plan-compaction.ts";
import type { ListedObject, Ports, RunIdState, ShardRef } from "./ports.ts";
import { lastGoodRun } from "./receive-runs.ts";
import { expiredVersions } from "./retention.ts";

const PAGE = 1_000;

/** What candidates are judged by. */
export interface CollectorView {
  readonly history: History;
  readonly retention: Policy["retention"];
  readonly nowMs: number;
  /** Keys of objects that a version needs which is neither expired nor retired. */
  readonly needed: ReadonlySet<string>;
  /** The bundle that proves that the store is well: always kept. */
  readonly canary: string | undefined;
}

export async function viewForCollector(
  ports: Ports,
  shard: ShardRef,
  history: History,
  retention: Policy["retention"],
): Promise<CollectorView> {
  const nowMs = ports.clock.nowMs();
  const expired = new Set(expiredVersions(history.versions, retention, nowMs));
  const kept = history.versions.filter((version) => !expired.has(version));
  const current = history.versions[0];
  const canary = current && (await lastGoodRun(ports, shard, current.manifest));
  return { history, retention, nowMs, needed: objectsOf(kept), canary: canary?.delta.key };
}

/** Lists the shard's folder. Bounded: what is beyond {@link CANDIDATES_MAX} waits for the next plan. */
export async function findCandidates(
  ports: Ports,
  shard: ShardRef,
  view: CollectorView,
  signal?: AbortSignal,
): Promise<readonly Candidate[]> {
  const found: Candidate[] = [];
  for (let after: string | undefined; found.length < CANDIDATES_MAX; ) {
    signal?.throwIfAborted();
    const page = await ports.objects.list(shardPrefix(shard), {
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    const states = await runStatesOf(ports, shard, page);
    for (const object of page) {
      const why = candidateReason(shard, view, object, states.get(object.key));
      if (why !== undefined) found.push({ key: object.key, bytes: object.bytes, why });
    }
    if (page.length < PAGE) break;
    after = page.at(-1)?.key;
  }
  return found.slice(0, CANDIDATES_MAX);
}

async function runStatesOf(
  { log }: Ports,
  shard: ShardRef,
  page: readonly ListedObject[],
): Promise<ReadonlyMap<string, RunIdState>> {
  const bundles = page.flatMap(({ key }) => {
    const runId = runIdOfKey(shard, key);
    return runId === undefined ? [] : [{ key, shard, runId }];
  });
  if (bundles.length === 0) return new Map();
  const states = await log.readRunIds(bundles);
  return new Map(bundles.map(({ key }, index) => [key, states[index] as RunIdState]));
}

/** Why nothing needs an object; undefined for what is needed, and for what is none of ours to judge. */
export function candidateReason(
  shard: ShardRef,
  view: CollectorView,
  { key, modifiedAtMs }: Pick<ListedObject, "key" | "modifiedAtMs">,
  state: RunIdState | undefined,
): CandidateReason | undefined {
  if (state !== undefined) {
    if (state.state !== "registered") return "unregistered";
    return isSpentBundle(view, key, modifiedAtMs, state.sequence) ? "applied" : undefined;
  }
  const version = versionOfKey(shard, key);
  if (version === undefined || view.needed.has(key)) return undefined;
  const name = versionName(version);
  const isOld = view.history.versions.some(({ ref }) => versionName(ref) === name);
  return isOld ? "old-version" : "unreferenced";
}

/** True for a bundle that every reader and compactor of the current version can do without. */
function isSpentBundle(
  { history, retention, nowMs, canary }: CollectorView,
  key: string,
  modifiedAtMs: number,
  sequence: number,
): boolean {
  const current = history.versions[0]?.manifest;
  const { deltasKeptMs } = retention;
  if (current === undefined || deltasKeptMs === null || key === canary) return false;
  // What is excluded may come back, and only from its bundle.
  const mayComeBack = current.excluded.some(
    (exclusion) =>
      isOpenExclusion(exclusion) && exclusion.from <= sequence && sequence <= exclusion.to,
  );
  const isApplied = sequence <= current.appliedThrough;
  return isApplied && !mayComeBack && nowMs - modifiedAtMs >= deltasKeptMs;
}
