/** What the run log knows of versions that were pinned or retired: read, decide, write if unchanged. */
import {
  pinItem,
  type RunLog,
  retireItem,
  type ShardRef,
  SiltError,
  shardPartition,
  unpinItem,
  type VersionItem,
  type VersionItemChange,
  type VersionKey,
} from "@silt/core";
import {
  headKey,
  type Item,
  number,
  numberOf,
  parseVersion,
  VERSION_PREFIX,
  VERSIONS_END,
  versionItemOf,
  versionKey,
} from "./dynamo-items.ts";
import { type Pace, patiently, pause } from "./dynamo-pace.ts";
import type { DynamoTable } from "./dynamo-table.ts";

type VersionItems = Pick<RunLog, "pinVersion" | "unpinVersion" | "retireVersion" | "listVersions">;

/** Others who change the same item; each of them is through after one write. */
const ATTEMPTS_MAX = 60;

/** The methods of a RunLog that are about versions. */
export function createDynamoVersionItems(table: DynamoTable, pace: Pace): VersionItems {
  return {
    pinVersion: (shard, version, pin) =>
      change(table, pace, shard, version, "pin a version", (item) => pinItem(item, version, pin)),
    unpinVersion: (shard, key, owner) =>
      change(table, pace, shard, key, "unpin a version", (item) => unpinItem(item, owner)),
    retireVersion: (shard, key) =>
      change(table, pace, shard, key, "retire a version", (item) => retireItem(item, key)),
    listVersions: (shard, options) => listVersions(table, shard, options),
  };
}

/**
 * Decides again on what is there until the decision could be written, a bounded number of times. Met
 * by its own write whose answer was lost, it finds nothing left to do.
 */
async function change<Answer>(
  table: DynamoTable,
  pace: Pace,
  shard: ShardRef,
  key: VersionKey,
  action: string,
  decide: (found: VersionItem | undefined) => VersionItemChange<Answer>,
): Promise<Answer> {
  let found = await table.get(action, versionKey(shard, key));
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const rev = found === undefined ? 0 : numberOf(found, "rev", "the item of a version");
    const { answer, item } = decide(found && parseVersion(shard, found));
    if (item === undefined) return answer;
    const put = { Item: versionItemOf(shard, item, rev + 1), ...unchanged(rev) };
    const outcome = await patiently(pace, () => table.put(action, put));
    if (outcome.outcome === "written") return answer;
    found = outcome.item;
    await pause(pace, attempt);
  }
  throw new SiltError(
    "unavailable",
    `Cannot ${action} "${shardPartition(shard)} ${key.version}": others were faster ${ATTEMPTS_MAX} times; try again`,
  );
}

const unchanged = (rev: number) =>
  rev === 0
    ? { ConditionExpression: "attribute_not_exists(pk)" }
    : { ConditionExpression: "rev = :rev", ExpressionAttributeValues: { ":rev": number(rev) } };

async function listVersions(
  table: DynamoTable,
  shard: ShardRef,
  { after, limit }: { readonly after?: VersionKey; readonly limit: number },
): Promise<readonly VersionItem[]> {
  const { pk } = headKey(shard);
  const from = after === undefined ? VERSION_PREFIX : versionKey(shard, after).sk;
  const values = { ":from": from, ":end": VERSIONS_END };
  const range = { pk, where: "sk BETWEEN :from AND :end", values };
  const versions: VersionItem[] = [];
  if (limit <= 0) return versions;
  // The range begins with `after` itself.
  for await (const item of table.query("list versions", range, limit + 1)) {
    if (isAt(item, from)) continue;
    versions.push(parseVersion(shard, item));
    if (versions.length === limit) break;
  }
  return versions;
}

const isAt = (item: Item, sk: string): boolean => item.sk?.S === sk;
