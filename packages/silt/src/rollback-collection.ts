/** Rolling a shard back, what that undoes, and the sources that can be ingested again. */
import {
  type CollectionIdentity,
  findVersion,
  type Policy,
  type Ports,
  type Run,
  readHistory,
  reasonOf,
  rollbackShard,
  type ShardRef,
  SiltError,
  type SnapshotManifest,
} from "@silt/core";
import { findUndoneSources, NO_SOURCES, type UndoneSources } from "./undone-sources.ts";

export interface RollbackOptions {
  /** E.g. `0-of-4`; may be left out where there is one. */
  readonly shard?: string | undefined;
  /** Refuse unless this is the current version. */
  readonly baseVersion?: number | undefined;
  readonly reason?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What was or would be undone: runs that were left out before don't count. */
export interface UndoneCounts {
  readonly runs: number;
  readonly records: number;
}

export interface RollbackPreview extends UndoneSources {
  readonly collection: string;
  readonly shard: string;
  /** The current version; give it as `baseVersion` to undo just this. */
  readonly from: number;
  readonly to: number;
  readonly undone: UndoneCounts;
}

export interface RollbackReport extends UndoneSources {
  readonly collection: string;
  readonly shard: string;
  /** `busy`: somebody compacts; `lost`: somebody flipped first. Nothing was changed then. */
  readonly outcome: "rolled-back" | "busy" | "lost";
  readonly from: number | null;
  readonly to: number;
  /** The new version. */
  readonly version: number | null;
  readonly appliedThrough: number | null;
  readonly undone: UndoneCounts;
  /** What could not be told of a rollback that was done all the same. */
  readonly warnings: readonly string[];
  /** Who works, when busy. */
  readonly holder?: string;
}

const RUNS_PAGE = 1_000;

/** What going back to a version would undo; changes nothing. Throws `invalid` for a version that is not there. */
export async function previewRollback(
  ports: Ports,
  shard: ShardRef,
  toVersion: number,
  signal?: AbortSignal,
): Promise<RollbackPreview> {
  const history = await readHistory(ports, shard);
  const { manifest: target } = findVersion(shard, history, toVersion);
  const [current] = history.versions;
  if (current === undefined) {
    throw new SiltError("internal", `There is no current version of ${shard.shard}`);
  }
  const runs: Run[] = [];
  const through = current.manifest.appliedThrough;
  for (let after = target.appliedThrough; after < through; ) {
    signal?.throwIfAborted();
    const limit = Math.min(RUNS_PAGE, through - after);
    const page = await ports.log.readRuns(shard, { after, limit });
    runs.push(...page);
    after = page.at(-1)?.sequence ?? through;
  }
  const undone = notExcluded(runs, current.manifest);
  return {
    collection: shard.collection,
    shard: shard.shard,
    from: current.ref.version,
    to: toVersion,
    undone: countsOf(undone),
    ...(await findUndoneSources(ports, undone, signal)),
  };
}

/** Makes a new version with the content of an old one. Throws `invalid` for a version that cannot be. */
export async function rollbackCollection(
  { ports, holder }: { readonly ports: Ports; readonly holder: string },
  { identity, policy }: { readonly identity: CollectionIdentity; readonly policy: Policy },
  shard: ShardRef,
  toVersion: number,
  { baseVersion, reason, signal }: RollbackOptions,
): Promise<RollbackReport> {
  const options = { holder, toVersion, baseVersion, reason, signal };
  const report = await rollbackShard(ports, identity, policy, shard, options);
  const nothing = {
    collection: shard.collection,
    shard: shard.shard,
    from: null,
    to: toVersion,
    version: null,
    appliedThrough: null,
    undone: { runs: 0, records: 0 },
    ...NO_SOURCES,
    warnings: [],
  };
  if (report.outcome === "busy") return { ...nothing, outcome: "busy", holder: report.holder };
  if (report.outcome === "lost") return { ...nothing, outcome: "lost", version: report.version };
  const { outcome, from, to, version, appliedThrough } = report;
  const done = { ...nothing, outcome, from, to, version, appliedThrough };
  return { ...done, ...(await tellUndone(ports, shard, from, report.undone, signal)) };
}

/** The rollback is committed: whatever fails from here on must not look as if it was not. */
async function tellUndone(
  ports: Ports,
  shard: ShardRef,
  from: number,
  runs: readonly Run[],
  signal: AbortSignal | undefined,
): Promise<Pick<RollbackReport, "undone" | "warnings" | keyof UndoneSources>> {
  let undone = runs;
  try {
    const { versions } = await readHistory(ports, shard);
    const base = versions.find(({ ref }) => ref.version === from);
    if (base !== undefined) undone = notExcluded(runs, base.manifest);
    const sources = await findUndoneSources(ports, undone, signal);
    return { undone: countsOf(undone), ...sources, warnings: [] };
  } catch (error) {
    const warning = `the sources that were undone could not be listed (${reasonOf(error)}); ingest all of them again, what did not change is skipped`;
    return { undone: countsOf(undone), ...NO_SOURCES, warnings: [warning] };
  }
}

function notExcluded(runs: readonly Run[], { excluded }: SnapshotManifest): readonly Run[] {
  return runs.filter(
    ({ sequence }) => !excluded.some(({ from, to }) => from <= sequence && sequence <= to),
  );
}

function countsOf(undone: readonly Run[]): UndoneCounts {
  const records = undone.reduce((sum, { rows }) => sum + rows.put + rows.patch + rows.delete, 0);
  return { runs: undone.length, records };
}
