/** Registration planned as the writes of one transaction, each on its condition. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import {
  assert,
  checkTransaction,
  type GuardUpdate,
  type Head,
  type LogTransaction,
  type Run,
  type ShardAppend,
} from "@silt/core";
import {
  attributesOf,
  guardItem,
  headItem,
  headKey,
  type Item,
  itemBytes,
  number,
  runIdItem,
  runItem,
  text,
} from "./dynamo-items.ts";
import {
  ITEM_BYTES_MAX,
  inTable,
  TRANSACTION_BYTES_MAX,
  TRANSACTION_ITEMS_MAX,
} from "./dynamo-table.ts";

/** One write of the transaction, and what it is about. */
export type Part = { readonly write: TransactWriteItem; readonly item: Item } & (
  | { readonly kind: "head"; readonly append: ShardAppend }
  | { readonly kind: "run"; readonly append: ShardAppend; readonly run: Run }
  | { readonly kind: "run-id"; readonly append: ShardAppend; readonly run: Run }
  | { readonly kind: "guard"; readonly update: GuardUpdate }
);

const IF_ABSENT = "attribute_not_exists(pk)";

/** HEAD, runs and run ids shard by shard, then the guards. */
export function partsOf(table: string, { appends, guards }: LogTransaction): readonly Part[] {
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
export function checkParts(transaction: LogTransaction, parts: readonly Part[]): void {
  checkTransaction(transaction);
  let bytes = 0;
  for (const { item } of parts) {
    const size = itemBytes(item);
    const key = `${item.pk?.S} ${item.sk?.S}`;
    assert(size <= ITEM_BYTES_MAX, `${key} has at most ${ITEM_BYTES_MAX} bytes`);
    bytes += size;
  }
  assert(
    parts.length <= TRANSACTION_ITEMS_MAX && bytes <= TRANSACTION_BYTES_MAX,
    `a transaction of ${parts.length} items and ${bytes} bytes has at most ${TRANSACTION_ITEMS_MAX} and ${TRANSACTION_BYTES_MAX}`,
  );
}
