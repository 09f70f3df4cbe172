/** Guards of sources. Their partitions are asked at once, and what they answer is merged in order. */
import { assert, compareIds, type Guard, type GuardKey, type RunLog } from "@silt/core";
import {
  guardKey,
  guardPartitions,
  guardSortKey,
  type Item,
  parseGuardItem,
} from "./dynamo-items.ts";
import type { DynamoTable } from "./dynamo-table.ts";

const LIST = "list guards";
/** Of a page of each partition, beside its even share: so that most lists take one request to each. */
const PAGE_ITEMS_SPARE = 8;

export function createDynamoGuards(table: DynamoTable): Pick<RunLog, "readGuard" | "listGuards"> {
  return {
    readGuard: (key) => readGuard(table, key),
    listGuards: (family, options) => listGuards(table, family, options),
  };
}

async function readGuard(table: DynamoTable, key: GuardKey): Promise<Guard | undefined> {
  const item = await table.get("read a guard", guardKey(key));
  return item && parseGuardItem(item);
}

async function listGuards(
  table: DynamoTable,
  family: string,
  { after, limit }: { readonly after?: string; readonly limit: number },
): Promise<readonly Guard[]> {
  // A sort key can't be compared with nothing.
  const range = after ? { where: "sk > :after", values: { ":after": guardSortKey(after) } } : {};
  const partitions = guardPartitions(family);
  const pageItems = Math.ceil(limit / partitions.length) + PAGE_ITEMS_SPARE;
  const lists = partitions.map((pk) => table.query(LIST, { pk, ...range }, pageItems));
  const guards: Guard[] = [];
  if (limit <= 0) return guards;
  const nexts = await Promise.all(lists.map(nextOf));
  while (guards.length < limit) {
    const index = firstOf(nexts);
    const [next, list] = [nexts[index], lists[index]];
    if (next === undefined || list === undefined) break;
    guards.push(parseGuardItem(next));
    nexts[index] = await nextOf(list);
  }
  return guards;
}

async function nextOf(list: AsyncGenerator<Item>): Promise<Item | undefined> {
  const next = await list.next();
  return next.done ? undefined : next.value;
}

/** The index of the item that comes first by its sort key; -1 when none is left. */
function firstOf(items: readonly (Item | undefined)[]): number {
  let first = -1;
  for (const [index, item] of items.entries()) {
    if (item === undefined) continue;
    if (first === -1 || compareIds(sortKeyOf(item), sortKeyOf(items[first])) < 0) first = index;
  }
  return first;
}

function sortKeyOf(item: Item | undefined): string {
  const sk = item?.sk?.S;
  assert(sk !== undefined, "each item has a sort key");
  return sk;
}
