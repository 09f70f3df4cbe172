import type { Ports } from "@silt/core";
import { createRunStandings, type GuardRun } from "./run-standing.ts";
import { IMAGE_FAMILY, sourceUri } from "./source-uri.ts";

/** Is this picture searchable yet? */
export interface SourceStatus {
  readonly source: string;
  /** `applied`: every run of it is in the current versions, none is left out. */
  readonly state: "applied" | "pending" | "failed" | "deleted" | "unknown" | "excluded";
  readonly reason?: string;
  readonly runs: readonly {
    readonly collection: string;
    readonly shard: string;
    readonly sequence: number;
    readonly runId: string;
  }[];
  /** SHA-256 of what was ingested; null when nothing is. */
  readonly digest: string | null;
}

const IS_URI = /^[a-z][a-z0-9+.-]+:\/\//i;

/** Where a picture stands, by URI or path. It need not exist any more. */
export async function sourceStatus(ports: Ports, uriOrPath: string): Promise<SourceStatus> {
  const source = IS_URI.test(uriOrPath) ? uriOrPath : await sourceUri(uriOrPath);
  const guard = await ports.log.readGuard({ uri: source, family: IMAGE_FAMILY });
  if (guard === undefined) return { source, state: "unknown", runs: [], digest: null };
  const { sourceDigest: digest, failure } = guard;
  const runs = guard.runs.map(({ storeId: _, ...run }) => run);
  const status = { source, runs, digest };
  if (failure !== null) return { ...status, state: "failed", reason: failure.reason };
  const { state, reason } = await stateOf(ports, guard.runs);
  const isDeleted = digest === null && state !== "excluded";
  return {
    ...status,
    state: isDeleted ? "deleted" : state,
    ...(isDeleted && state === "pending" && { reason: "its deletion is not compacted yet" }),
    ...(!isDeleted && reason !== undefined && { reason }),
  };
}

async function stateOf(
  ports: Ports,
  runs: readonly GuardRun[],
): Promise<Pick<SourceStatus, "state" | "reason">> {
  const standings = createRunStandings(ports);
  let state: SourceStatus["state"] = "applied";
  for (const run of runs) {
    const found = await standings.of(run);
    if (found.standing === "excluded") return { state: "excluded", reason: found.reason };
    if (found.standing === "gone") {
      return { state: "unknown", reason: `collection "${run.collection}" was deleted since` };
    }
    if (found.standing === "pending") state = "pending";
  }
  return { state };
}
