/** Logs in tables of their own, and what goes into them. */
import { randomBytes } from "node:crypto";
import { type AwsClients, createDynamoRunLog } from "@silt/aws";
import {
  EMPTY_RUNS_HASH,
  FORMAT,
  type Guard,
  type Head,
  type Ports,
  type RunDraft,
  type RunLog,
  type SegmentEngine,
  type ShardRef,
  sha256Of,
  uuidV7,
} from "@silt/core";
import { systemClock, systemRandom } from "@silt/local";
import { createMemoryPorts } from "@silt/testkit";

export const PACE = { clock: systemClock, random: systemRandom };
export const LINES: ShardRef = { collection: "lines", storeId: "store0000001", shard: "0-of-1" };
export const WORDS: ShardRef = { collection: "words", storeId: "store0000002", shard: "0-of-1" };
export const NEW_HEAD: Head = {
  sequence: 0,
  runsHash: EMPTY_RUNS_HASH,
  floor: "",
  excluding: null,
  excludeRev: 0,
};
const AT = "2026-01-01T00:00:00.000Z";

const noEngine: SegmentEngine = {
  openWorkbench: () => Promise.reject(new Error("the log needs no engine")),
};

export const logOf = ({ dynamo }: AwsClients, table: string): RunLog =>
  createDynamoRunLog({ client: dynamo, table }, PACE);

/** What registers on a log: with the true clock and true jitter. */
export const portsOf = (log: RunLog): Ports => ({
  ...createMemoryPorts({ engine: noEngine, ...PACE }),
  log,
});

export function draftOf(shard: ShardRef, source: string | null = null): RunDraft {
  const runId = uuidV7(systemClock.nowMs(), randomBytes(16));
  return {
    shard,
    runId,
    delta: { key: `deltas/${runId}.tar`, bytes: 1, sha256: "0".repeat(64), codec: "tar" },
    rows: { put: 2, patch: 0, delete: 0 },
    replaced: 0,
    source,
    retryOf: null,
  };
}

export const guardOf = (uri: string, rev = 1, family = "images"): Guard => ({
  format: FORMAT,
  requires: [],
  uri,
  family,
  rev,
  sourceDigest: sha256Of(uri),
  pipelineId: "test-1",
  runs: [],
  failure: null,
  root: null,
});

/** A guard whose item is some bytes long. */
export const bigGuardOf = (uri: string, bytes: number): Guard => ({
  ...guardOf(uri),
  failure: { sourceDigest: sha256Of(uri), reason: "x".repeat(bytes), at: AT },
});

/** Puts new guards, as many at once as one transaction holds. */
export async function putGuards(log: RunLog, guards: readonly Guard[], atOnce = 100) {
  for (let from = 0; from < guards.length; from += atOnce) {
    const updates = guards.slice(from, from + atOnce);
    const outcome = await log.commit({
      appends: [],
      guards: updates.map((next) => ({ expectedRev: next.rev - 1, next })),
    });
    if (outcome.outcome !== "committed") throw new Error(`guards: ${outcome.outcome}`);
  }
}

/** The URIs of a family as its list gives them, page by page. */
export async function listedUris(log: RunLog, family: string, limit: number): Promise<string[]> {
  const uris: string[] = [];
  for (;;) {
    const after = uris.at(-1);
    const page = await log.listGuards(family, { limit, ...(after !== undefined && { after }) });
    uris.push(...page.map(({ uri }) => uri));
    if (page.length < limit) return uris;
  }
}
