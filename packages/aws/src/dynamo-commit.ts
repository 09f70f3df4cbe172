/**
 * Registration as one transaction. A refusal is read from the reasons of all its parts, in the order
 * that the port promises.
 */
import { randomUUID } from "node:crypto";
import type { CancellationReason } from "@aws-sdk/client-dynamodb";
import {
  assert,
  type CommitOutcome,
  canonicalJson,
  type LogTransaction,
  type ShardAppend,
  SiltError,
  shardPartition,
} from "@silt/core";
import { headKey, parseGuardItem, parseHead, parseRunId, runKey } from "./dynamo-items.ts";
import { type Pace, patiently } from "./dynamo-pace.ts";
import { cancelled, type DynamoTable } from "./dynamo-table.ts";
import { checkParts, type Part, partsOf } from "./dynamo-transaction.ts";

const COMMIT = "commit runs";

/**
 * Commits all or nothing. Throws `unavailable` also when the answer was lost and the transaction may
 * have been committed: the caller reads the run ids (F51).
 */
export async function commitTransaction(
  table: DynamoTable,
  pace: Pace,
  transaction: LogTransaction,
): Promise<CommitOutcome> {
  const parts = partsOf(table.name, transaction);
  checkParts(transaction, parts);
  if (parts.length === 0) return { outcome: "committed" };
  const writes = parts.map(({ write }) => write);
  // Of an attempt, not of the transaction: what was cancelled must be looked at anew. An attempt
  // that is still under way is asked for under its own token.
  let token = randomUUID();
  let disputed: readonly ShardAppend[] = [];
  return patiently(pace, async () => {
    const moved = await movedHead(table, disputed);
    if (moved !== undefined) return moved;
    const answer = await table.transact(COMMIT, writes, token);
    if (answer.outcome === "written") return { outcome: "committed" };
    token = randomUUID();
    const { reasons, cause } = answer;
    const refusal = refusalOf(parts, reasons) ?? (await orphanOf(table, parts, reasons));
    if (refusal !== undefined) return refusal;
    disputed = parts.flatMap((part, index) =>
      part.kind === "head" && reasons[index]?.Code === "TransactionConflict" ? [part.append] : [],
    );
    throw cancelled(COMMIT, table.name, cause);
  });
}

/** Who wrote a HEAD while we tried has mostly moved it: a read tells for a tenth of another attempt. */
async function movedHead(
  table: DynamoTable,
  disputed: readonly ShardAppend[],
): Promise<CommitOutcome | undefined> {
  for (const { shard, expected } of disputed) {
    const item = await table.get("read HEAD", headKey(shard));
    if (item === undefined) return { outcome: "no-head", shard };
    const head = parseHead(shard, item);
    if (canonicalJson(head) !== canonicalJson(expected)) {
      return { outcome: "head-moved", shard, head };
    }
  }
  return undefined;
}

const hasFailed = (reason: CancellationReason | undefined): boolean =>
  reason?.Code === "ConditionalCheckFailed";

/**
 * The first condition known to have failed, in the order that the port promises; undefined when the
 * reasons name none that tells something. A service that names only some of them, or that met a
 * conflict before it looked, makes a later one come first: it is no less true, and each leads the
 * caller to look again.
 */
export function refusalOf(
  parts: readonly Part[],
  reasons: readonly CancellationReason[],
): CommitOutcome | undefined {
  const failed = parts.flatMap((part, index) => {
    const reason = reasons[index];
    return hasFailed(reason) ? [{ part, found: reason?.Item }] : [];
  });
  for (const { part, found } of failed) {
    if (part.kind === "head" && found === undefined) {
      return { outcome: "no-head", shard: part.append.shard };
    }
  }
  for (const { part, found } of failed) {
    if (part.kind !== "run-id") continue;
    const { runId } = part.run;
    const state = parseRunId(part.append.shard, runId, found);
    assert(state.state !== "absent", `the service tells what it knows of run ${runId}`);
    return { outcome: "run-known", runId, state };
  }
  const heads = failed.flatMap(({ part, found }) =>
    part.kind === "head" && found !== undefined
      ? [{ ...part.append, head: parseHead(part.append.shard, found) }]
      : [],
  );
  for (const { runs, head } of heads) {
    const below = runs.find(({ runId }) => runId < head.floor);
    if (below !== undefined) {
      return { outcome: "below-floor", runId: below.runId, floor: head.floor };
    }
  }
  for (const { part, found } of failed) {
    if (part.kind !== "guard") continue;
    return { outcome: "guard-moved", guard: found && parseGuardItem(found) };
  }
  const [moved] = heads;
  return moved && { outcome: "head-moved", shard: moved.shard, head: moved.head };
}

/**
 * A sequence number that is taken although HEAD has not passed it: the service didn't say that HEAD
 * moved, or an older HEAD came back. Looks at both in one moment; throws `corrupt` for an old HEAD,
 * which would hide runs that were acknowledged.
 */
async function orphanOf(
  table: DynamoTable,
  parts: readonly Part[],
  reasons: readonly CancellationReason[],
): Promise<CommitOutcome | undefined> {
  const taken = parts.find(({ kind }, index) => kind === "run" && hasFailed(reasons[index]));
  if (taken?.kind !== "run") return undefined;
  const { shard } = taken.append;
  const keys = [headKey(shard), runKey(shard, taken.run.sequence)];
  const [headFound, runFound] = await table.getAtOnce("read HEAD", keys);
  if (headFound === undefined) return { outcome: "no-head", shard };
  const head = parseHead(shard, headFound);
  if (runFound === undefined || head.sequence >= taken.run.sequence) {
    return { outcome: "head-moved", shard, head };
  }
  throw new SiltError(
    "corrupt",
    `Cannot use the log of "${shardPartition(shard)}": HEAD is ${head.sequence}, but it has later runs; restore the log from a backup`,
  );
}
