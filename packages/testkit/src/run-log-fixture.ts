/** Runs, guards and transactions for the claims about a run log. */
import {
  type Clock,
  EMPTY_RUNS_HASH,
  FORMAT,
  type Guard,
  type GuardUpdate,
  type Head,
  type LogTransaction,
  planRegistration,
  type RunDraft,
  type RunLog,
  type ShardRef,
  sha256Of,
  shardPartition,
  uuidV7,
} from "@silt/core";
import type { SeededRandom } from "./seeded-random.ts";

export const NOW_MS = Date.UTC(2026, 0, 1);
export const AT = new Date(NOW_MS).toISOString();
export const LINES: ShardRef = { collection: "lines", storeId: "store0000001", shard: "0-of-2" };
export const WORDS: ShardRef = { collection: "words", storeId: "store0000002", shard: "0-of-1" };
export const NOWHERE: ShardRef = { collection: "none", storeId: "store0000003", shard: "0-of-1" };
export const NEW_HEAD: Head = {
  sequence: 0,
  runsHash: EMPTY_RUNS_HASH,
  floor: "",
  excluding: null,
  excludeRev: 0,
};

/** What each claim starts from: `lines` and `words` exist and are empty. */
export interface RunLogFixture {
  readonly log: RunLog;
  readonly clock: Clock | undefined;
  readonly random: SeededRandom;
}

export function draftOf({ random }: RunLogFixture, shard: ShardRef = LINES): RunDraft {
  const runId = uuidV7(NOW_MS, random.bytes(16));
  return {
    shard,
    runId,
    delta: { key: `deltas/${runId}.tar`, bytes: 10, sha256: sha256Of(runId), codec: "tar" },
    rows: { put: 2, patch: 1, delete: 0 },
    replaced: 1,
    source: `file:///${runId}.png`,
    retryOf: null,
  };
}

async function headsOf(log: RunLog, shards: readonly ShardRef[]): Promise<Map<string, Head>> {
  const heads = await log.readHeads(shards);
  return new Map(shards.map((shard, index) => [shardPartition(shard), heads[index] as Head]));
}

export async function planOf(
  fixture: RunLogFixture,
  drafts: readonly RunDraft[],
  guards: readonly GuardUpdate[] = [],
): Promise<LogTransaction> {
  const shards = drafts.map(({ shard }) => shard);
  const heads = await headsOf(fixture.log, shards);
  return planRegistration(drafts, heads, { guards: () => guards }, AT).transaction;
}

export async function commitRuns(
  fixture: RunLogFixture,
  drafts: readonly RunDraft[],
  guards: readonly GuardUpdate[] = [],
) {
  return fixture.log.commit(await planOf(fixture, drafts, guards));
}

export function guardOf(uri: string, rev: number, family = "images"): Guard {
  return {
    format: FORMAT,
    requires: [],
    uri,
    family,
    rev,
    sourceDigest: sha256Of(`${uri} ${rev}`),
    pipelineId: "test-1",
    runs: [],
    failure: null,
    root: null,
  };
}

/** Everything that a refused transaction might have left behind. */
export async function traceOf(
  fixture: RunLogFixture,
  drafts: readonly RunDraft[],
  uris: readonly string[],
) {
  const { log } = fixture;
  return {
    heads: await log.readHeads([LINES, WORDS]),
    lines: await log.readRuns(LINES, { after: 0, limit: 100 }),
    words: await log.readRuns(WORDS, { after: 0, limit: 100 }),
    runIds: await log.readRunIds(drafts),
    guards: await Promise.all(uris.map((uri) => log.readGuard({ uri, family: "images" }))),
  };
}
