/** Rolling a shard back, and naming the sources that it undid: they can be ingested again. */
import {
  type CollectionIdentity,
  type Policy,
  type Ports,
  type Run,
  rollbackShard,
  type ShardRef,
} from "@silt/core";
import { IMAGE_FAMILY } from "./ingest/source-uri.ts";

export interface RollbackOptions {
  /** E.g. `0-of-4`; may be left out where there is one. */
  readonly shard?: string | undefined;
  /** Refuse unless this is the current version. */
  readonly baseVersion?: number | undefined;
  readonly reason?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface RollbackReport {
  readonly collection: string;
  readonly shard: string;
  /** `busy`: somebody compacts; `lost`: somebody flipped first. Nothing was changed then. */
  readonly outcome: "rolled-back" | "busy" | "lost";
  readonly from: number | null;
  readonly to: number;
  /** The new version. */
  readonly version: number | null;
  readonly appliedThrough: number | null;
  readonly undone: { readonly runs: number; readonly records: number };
  /** Whose records were undone; ingesting them again brings them back. */
  readonly sources: readonly string[];
  /** Who works, when busy. */
  readonly holder?: string;
}

const GUARDS_PAGE = 500;
const SOURCES_MAX = 100_000;

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
    sources: [],
  };
  if (report.outcome === "busy") return { ...nothing, outcome: "busy", holder: report.holder };
  if (report.outcome === "lost") return { ...nothing, outcome: "lost", version: report.version };
  const { outcome, from, to, version, appliedThrough, undone } = report;
  const records = undone.reduce((sum, { rows }) => sum + rows.put + rows.patch + rows.delete, 0);
  return {
    ...nothing,
    outcome,
    from,
    to,
    version,
    appliedThrough,
    undone: { runs: undone.length, records },
    sources: await sourcesOf(ports, undone),
  };
}

/** The sources whose newest records came by these runs. */
async function sourcesOf(ports: Ports, undone: readonly Run[]): Promise<readonly string[]> {
  const gone = new Set(undone.map(({ runId }) => runId));
  const sources: string[] = [];
  for (let after: string | undefined; gone.size > 0 && sources.length < SOURCES_MAX; ) {
    const asked = { limit: GUARDS_PAGE, ...(after === undefined ? {} : { after }) };
    const page = await ports.log.listGuards(IMAGE_FAMILY, asked);
    for (const { uri, runs } of page) {
      if (runs.some(({ runId }) => gone.has(runId))) sources.push(uri);
    }
    if (page.length < GUARDS_PAGE) break;
    after = page.at(-1)?.uri;
  }
  return sources;
}
