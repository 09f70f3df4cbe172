/** The run log in DynamoDB: what must happen together is one transaction or one conditional write. */
import {
  type Applied,
  type Clock,
  type Head,
  type Random,
  type Run,
  type RunIdState,
  type RunLog,
  type ShardRef,
  SiltError,
  shardPartition,
} from "@silt/core";
import { commitTransaction } from "./dynamo-commit.ts";
import { createDynamoGuards } from "./dynamo-guards.ts";
import {
  appliedItem,
  appliedKey,
  headItem,
  headKey,
  type Item,
  type ItemKey,
  number,
  parseApplied,
  parseHead,
  parseRunId,
  parseRunItem,
  runIdItem,
  runIdKey,
  runKey,
  text,
} from "./dynamo-items.ts";
import { type Pace, patiently } from "./dynamo-pace.ts";
import {
  createDynamoTable,
  type DynamoTable,
  type DynamoTableOptions,
  TRANSACTION_ITEMS_MAX,
} from "./dynamo-table.ts";
import { createDynamoVersionItems } from "./dynamo-version-items.ts";

const IF_ABSENT = "attribute_not_exists(pk)";
const IF_PRESENT = "attribute_exists(pk)";

/**
 * A RunLog in a table of which dynamo-items.ts says what lies in it. Needs GetItem, Query, PutItem and
 * UpdateItem on it. It has no `audit()`: the service answers for what it keeps.
 */
export function createDynamoRunLog(
  options: DynamoTableOptions,
  pace: { readonly clock: Clock; readonly random: Random },
): RunLog {
  const table = createDynamoTable(options);
  return {
    async createShard(shard, head) {
      const put = { Item: headItem(shard, head), ConditionExpression: IF_ABSENT };
      const written = await patiently(pace, () => table.put("create HEAD", put));
      return written.outcome === "written" ? "created" : "exists";
    },
    readHead: async (shard) => (await readHeads(table, pace, [shard]))[0],
    readHeads: (shards) => readHeads(table, pace, shards),
    commit: (transaction) => commitTransaction(table, pace, transaction),
    readRuns: (shard, page) => readRuns(table, pace, shard, page),
    readRunIds: (keys) => readRunIds(table, pace, keys),
    async abandonRun(shard, runId) {
      const item = runIdItem(shard, runId, { state: "abandoned" });
      const put = { Item: item, ConditionExpression: IF_ABSENT };
      const written = await patiently(pace, () => table.put("abandon a run", put));
      const known = written.outcome === "written" ? item : written.item;
      return parseRunId(shard, runId, known).state === "registered" ? "registered" : "abandoned";
    },
    async readApplied(shard) {
      const item = await table.get("read APPLIED", appliedKey(shard));
      return item && parseApplied(shard, item);
    },
    raiseApplied: (shard, applied) => raiseApplied(table, pace, shard, applied),
    ...exclusionMethods(table, pace),
    ...createDynamoVersionItems(table, pace),
    ...createDynamoGuards(table),
  };
}

/** One item is one moment: only several take a transaction, which conflicts with those that write. */
async function readAtOnce(
  table: DynamoTable,
  pace: Pace,
  action: string,
  keys: readonly ItemKey[],
): Promise<readonly (Item | undefined)[]> {
  const nameOf = ({ pk, sk }: ItemKey) => `${pk} ${sk}`;
  const distinct = [...new Map(keys.map((key) => [nameOf(key), key])).values()];
  const [only] = distinct;
  const found =
    only !== undefined && distinct.length === 1
      ? [await table.get(action, only)]
      : await patiently(pace, () => table.getAtOnce(action, distinct));
  const items = new Map(distinct.map((key, index) => [nameOf(key), found[index]]));
  return keys.map((key) => items.get(nameOf(key)));
}

async function readHeads(
  table: DynamoTable,
  pace: Pace,
  shards: readonly ShardRef[],
): Promise<readonly (Head | undefined)[]> {
  const items = await readAtOnce(table, pace, "read HEAD", shards.map(headKey));
  return shards.map((shard, index) => {
    const item = items[index];
    return item && parseHead(shard, item);
  });
}

async function readRunIds(
  table: DynamoTable,
  pace: Pace,
  asked: readonly { readonly shard: ShardRef; readonly runId: string }[],
): Promise<readonly RunIdState[]> {
  const keys = asked.map(({ shard, runId }) => runIdKey(shard, runId));
  const items: (Item | undefined)[] = [];
  // Registrations ask for few; whoever looks through a shard asks for a page of them.
  for (let from = 0; from < keys.length; from += TRANSACTION_ITEMS_MAX) {
    const some = keys.slice(from, from + TRANSACTION_ITEMS_MAX);
    items.push(...(await readAtOnce(table, pace, "read run ids", some)));
  }
  return asked.map(({ shard, runId }, index) => parseRunId(shard, runId, items[index]));
}

/** A commit that HEAD shows already, and a Query does not yet, is through within milliseconds. */
const WHOLE_ATTEMPTS_MAX = 5;
const WHOLE_PAUSE_MS = 50;

/**
 * Runs up to the limit or up to HEAD. A Query is not serializable with transactions (DynamoDB developer
 * guide, "Isolation levels"): it may miss a run of a commit that HEAD shows, which would look like damage.
 */
async function readRuns(
  table: DynamoTable,
  pace: Pace,
  shard: ShardRef,
  page: { readonly after: number; readonly limit: number },
): Promise<readonly Run[]> {
  for (let attempt = 1; ; attempt++) {
    const runs = await queryRuns(table, shard, page);
    const last = page.after + runs.length;
    const isGapless = runs.every(({ sequence }, index) => sequence === page.after + 1 + index);
    if (isGapless && runs.length >= page.limit) return runs;
    const [head] = await readHeads(table, pace, [shard]);
    const isWhole = isGapless && last >= (head?.sequence ?? 0);
    // What is missing after that is missing indeed: whoever asked will tell.
    if (isWhole || attempt === WHOLE_ATTEMPTS_MAX) return runs;
    await pace.clock.sleep(WHOLE_PAUSE_MS * attempt);
  }
}

async function queryRuns(
  table: DynamoTable,
  shard: ShardRef,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<readonly Run[]> {
  const { pk, sk } = runKey(shard, after + 1);
  const values = { ":from": sk, ":to": runKey(shard, Number.MAX_SAFE_INTEGER).sk };
  const range = { pk, where: "sk BETWEEN :from AND :to", values };
  const runs: Run[] = [];
  if (limit <= 0) return runs;
  for await (const item of table.query("read runs", range, limit)) {
    runs.push(parseRunItem(shard, item));
    if (runs.length === limit) break;
  }
  return runs;
}

async function raiseApplied(
  table: DynamoTable,
  pace: Pace,
  shard: ShardRef,
  applied: Applied,
): Promise<void> {
  const put = {
    Item: appliedItem(shard, applied),
    ConditionExpression: `${IF_ABSENT} OR #version < :version`,
    ExpressionAttributeNames: { "#version": "version" },
    ExpressionAttributeValues: { ":version": number(applied.version) },
  };
  // Refused: somebody has noted a later version.
  await patiently(pace, () => table.put("raise APPLIED", put));
}

function exclusionMethods(
  table: DynamoTable,
  pace: Pace,
): Pick<RunLog, "announceExclusion" | "resolveExclusion"> {
  return {
    async announceExclusion(shard, commitId) {
      const update = {
        UpdateExpression: "SET #excluding = :commitId",
        ConditionExpression: IF_PRESENT,
        ExpressionAttributeNames: { "#excluding": "excluding" },
        ExpressionAttributeValues: { ":commitId": text(commitId) },
      };
      const changed = await patiently(pace, () =>
        table.update("announce an exclusion", headKey(shard), update),
      );
      if (changed.outcome === "refused") throw headGone(shard);
    },
    async resolveExclusion(shard, commitId) {
      const RESOLVE = "resolve an exclusion";
      const raise = "SET #excludeRev = #excludeRev + :one";
      const names = { "#excludeRev": "excludeRev" };
      const own = {
        UpdateExpression: `${raise} REMOVE #excluding`,
        ConditionExpression: "#excluding = :commitId",
        ExpressionAttributeNames: { ...names, "#excluding": "excluding" },
        ExpressionAttributeValues: { ":one": number(1), ":commitId": text(commitId) },
      };
      const taken = await patiently(pace, () => table.update(RESOLVE, headKey(shard), own));
      if (taken.outcome === "written") return;
      if (taken.item === undefined) throw headGone(shard);
      // The announcement is another commit's, or was taken back by an attempt of ours whose answer
      // was lost: then the revision rises twice, which makes deletes by filter decide once more.
      const others = {
        UpdateExpression: raise,
        ConditionExpression: IF_PRESENT,
        ExpressionAttributeNames: names,
        ExpressionAttributeValues: { ":one": number(1) },
      };
      const raised = await patiently(pace, () => table.update(RESOLVE, headKey(shard), others));
      if (raised.outcome === "refused") throw headGone(shard);
    },
  };
}

function headGone(shard: ShardRef): SiltError {
  return new SiltError(
    "corrupt",
    `Cannot use shard "${shardPartition(shard)}": the log has no HEAD for it; the log does not belong to this store`,
  );
}
