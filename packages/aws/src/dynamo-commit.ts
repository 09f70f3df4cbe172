/**
 * Registration as one transaction. It is planned as parts: what to write, on which condition. A
 * refusal is read from the reasons of all parts, in the order that the port promises.
 */
import { randomUUID } from "node:crypto";
import type { CancellationReason, TransactWriteItem } from "@aws-sdk/client-dynamodb";
import {
  assert,
  type CommitOutcome,
  type GuardUpdate,
  type Head,
  type LogTransaction,
  type Run,
  type ShardAppend,
  SiltError,
  shardPartition,
} from "@silt/core";
import {
  attributesOf,
  guardItem,
  headItem,
  headKey,
  type Item,
  itemBytes,
  number,
  parseGuardItem,
  parseHead,
  parseRunId,
  runIdItem,
  runItem,
  runKey,
  text,
} from "./dynamo-items.ts";
import { type Pace, patiently } from "./dynamo-pace.ts";
import {
  cancelled,
  type DynamoTable,
  ITEM_BYTES_MAX,
  inTable,
  TRANSACTION_BYTES_MAX,
  TRANSACTION_ITEMS_MAX,
} from "./dynamo-table.ts";

/** One write of the transaction, and what it is about. */
type Part = { readonly write: TransactWriteItem; readonly item: Item } & (
  | { readonly kind: "head"; readonly append: ShardAppend }
  | { readonly kind: "run"; readonly append: ShardAppend; readonly run: Run }
  | { readonly kind: "run-id"; readonly append: ShardAppend; readonly run: Run }
  | { readonly kind: "guard"; readonly update: GuardUpdate }
);

const COMMIT = "commit runs";
const IF_ABSENT = "attribute_not_exists(pk)";

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
  return patiently(pace, async () => {
    const answer = await table.transact(COMMIT, writes, token);
    if (answer.outcome === "written") return { outcome: "committed" };
    token = randomUUID();
    const refusal =
      refusalOf(parts, answer.reasons) ?? (await orphanOf(table, parts, answer.reasons));
    if (refusal !== undefined) return refusal;
    throw cancelled(COMMIT, table.name, answer.cause);
  });
}

// ---------------------------------------------------------------- the plan

function partsOf(table: string, { appends, guards }: LogTransaction): readonly Part[] {
  return [
    ...appends.flatMap((append): Part[] => [headPart(table, append), ...runParts(table, append)]),
    ...guards.map((update): Part => {
      const { expectedRev, next } = update;
      const item = guardItem(next);
      const condition =
        expectedRev === 0
          ? { ConditionExpression: IF_ABSENT }
          : {
              ConditionExpression: "rev = :rev",
              ExpressionAttributeValues: { ":rev": number(expectedRev) },
            };
      return {
        kind: "guard",
        update,
        item,
        write: { Put: inTable(table, { Item: item, ...condition }) },
      };
    }),
  ];
}

function runParts(table: string, append: ShardAppend): readonly Part[] {
  const putIfAbsent = (item: Item): TransactWriteItem => ({
    Put: inTable(table, { Item: item, ConditionExpression: IF_ABSENT }),
  });
  return append.runs.flatMap((run): Part[] => {
    const { sequence, runId } = run;
    const item = runItem(append.shard, run);
    const idItem = runIdItem(append.shard, runId, { state: "registered", sequence });
    return [
      { kind: "run", append, run, item, write: putIfAbsent(item) },
      { kind: "run-id", append, run, item: idItem, write: putIfAbsent(idItem) },
    ];
  });
}

const HEAD_NAMES = {
  "#sequence": "sequence",
  "#runsHash": "runsHash",
  "#floor": "floor",
  "#excluding": "excluding",
  "#excludeRev": "excludeRev",
};

/** HEAD moves on from exactly what the plan was made from, and only for run ids at or above its floor. */
function headPart(table: string, append: ShardAppend): Part {
  const { shard, expected, next, runs } = append;
  const lowest = runs.map(({ runId }) => runId).sort()[0];
  const conditions = [
    "#sequence = :sequence",
    "#runsHash = :runsHash",
    "#floor = :floor",
    expected.excluding === null ? "attribute_not_exists(#excluding)" : "#excluding = :excluding",
    "#excludeRev = :excludeRev",
    ...(lowest === undefined ? [] : ["#floor <= :lowest"]),
  ];
  const sets = ["sequence", "runsHash", "floor", "excludeRev"].map(
    (name) => `#${name} = :next_${name}`,
  );
  const excluding = next.excluding === null ? "REMOVE #excluding" : "";
  if (next.excluding !== null) sets.push("#excluding = :next_excluding");
  const update = {
    Key: attributesOf(headKey(shard)),
    UpdateExpression: `SET ${sets.join(", ")} ${excluding}`.trim(),
    ConditionExpression: conditions.join(" AND "),
    ExpressionAttributeNames: HEAD_NAMES,
    ExpressionAttributeValues: {
      ...headValues(":", expected),
      ...headValues(":next_", next),
      ...(lowest !== undefined && { ":lowest": text(lowest) }),
    },
  };
  const item = headItem(shard, next);
  return { kind: "head", append, item, write: { Update: inTable(table, update) } };
}

const headValues = (prefix: string, head: Head): Item => ({
  [`${prefix}sequence`]: number(head.sequence),
  [`${prefix}runsHash`]: text(head.runsHash),
  [`${prefix}floor`]: text(head.floor),
  ...(head.excluding !== null && { [`${prefix}excluding`]: text(head.excluding) }),
  [`${prefix}excludeRev`]: number(head.excludeRev),
});

/** Throws `internal` for what no plan makes, and for what no transaction holds: callers size their groups. */
function checkParts({ appends, guards }: LogTransaction, parts: readonly Part[]): void {
  for (const { shard, expected, next, runs } of appends) {
    const partition = shardPartition(shard);
    for (const [index, run] of runs.entries()) {
      assert(run.sequence === expected.sequence + 1 + index, `run ${run.runId} is consecutive`);
    }
    const ends = next.sequence === expected.sequence + runs.length;
    assert(ends, `HEAD of ${partition} ends at its last run`);
  }
  for (const { expectedRev, next } of guards) {
    assert(next.rev > expectedRev, `the guard of ${next.uri} rises`);
  }
  const keys = new Set<string>();
  let bytes = 0;
  for (const { item } of parts) {
    const key = `${item.pk?.S} ${item.sk?.S}`;
    assert(!keys.has(key), `a transaction writes ${key} once`);
    keys.add(key);
    assert(itemBytes(item) <= ITEM_BYTES_MAX, `${key} has at most ${ITEM_BYTES_MAX} bytes`);
    bytes += itemBytes(item);
  }
  assert(
    parts.length <= TRANSACTION_ITEMS_MAX && bytes <= TRANSACTION_BYTES_MAX,
    `a transaction of ${parts.length} items and ${bytes} bytes has at most ${TRANSACTION_ITEMS_MAX} and ${TRANSACTION_BYTES_MAX}`,
  );
}

// ---------------------------------------------------------------- the refusal

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
