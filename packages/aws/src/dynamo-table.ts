/** The log table as few calls: consistent reads, conditional writes, transactions. */
import {
  type CancellationReason,
  ConditionalCheckFailedException,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  type PutItemCommandInput,
  QueryCommand,
  TransactGetItemsCommand,
  TransactionCanceledException,
  type TransactWriteItem,
  TransactWriteItemsCommand,
  UpdateItemCommand,
  type UpdateItemCommandInput,
} from "@aws-sdk/client-dynamodb";
import { assert, SiltError } from "@silt/core";
import { awsError, callAws } from "./aws-error.ts";
import { attributesOf, type Item, type ItemKey, text } from "./dynamo-items.ts";

export interface DynamoTableOptions {
  readonly client: DynamoDBClient;
  /** Its name, or its ARN. */
  readonly table: string;
}

export type WriteOutcome =
  | { readonly outcome: "written" }
  /** The condition does not hold; `item` is what is there. Also after an own write whose answer was lost. */
  | { readonly outcome: "refused"; readonly item: Item | undefined };

export type TransactOutcome =
  | { readonly outcome: "written" }
  /** Nothing was written; one reason for each item, in order. */
  | {
      readonly outcome: "cancelled";
      readonly reasons: readonly CancellationReason[];
      readonly cause: TransactionCanceledException;
    };

export type Put = Pick<
  PutItemCommandInput,
  "ConditionExpression" | "ExpressionAttributeNames" | "ExpressionAttributeValues"
> & { readonly Item: Item };

export type Update = Pick<
  UpdateItemCommandInput,
  | "UpdateExpression"
  | "ConditionExpression"
  | "ExpressionAttributeNames"
  | "ExpressionAttributeValues"
>;

/** A range of sort keys of one partition. */
export interface KeyRange {
  readonly pk: string;
  /** E.g. `sk BETWEEN :from AND :to`; all of the partition when there is none. */
  readonly where?: string;
  readonly values?: Readonly<Record<string, string>>;
}

/** Items of one transaction, and their bytes together. */
export const TRANSACTION_ITEMS_MAX = 100;
export const TRANSACTION_BYTES_MAX = 4 * 1024 * 1024;
export const ITEM_BYTES_MAX = 400 * 1024;
const PAGE_ITEMS_MAX = 1_000;
const PAGES_MAX = 1_000_000;
/** So that a refusal tells what is there, without another request. */
const TELL_ITEM = "ALL_OLD";

/** All failures are SiltErrors by {@link awsError}; `action` completes "Cannot …". */
export interface DynamoTable {
  readonly name: string;
  get(action: string, key: ItemKey): Promise<Item | undefined>;
  /** Distinct items at one moment, in the order asked. `unavailable` while a transaction writes one. */
  getAtOnce(action: string, keys: readonly ItemKey[]): Promise<readonly (Item | undefined)[]>;
  /** Items in the order of their sort keys, page after page of at most `pageItems`. */
  query(action: string, range: KeyRange, pageItems: number): AsyncGenerator<Item>;
  put(action: string, put: Put): Promise<WriteOutcome>;
  update(action: string, key: ItemKey, update: Update): Promise<WriteOutcome>;
  /** `token`: the same transaction under the same token is carried out once (10 minutes). */
  transact(
    action: string,
    items: readonly TransactWriteItem[],
    token: string,
  ): Promise<TransactOutcome>;
}

export function createDynamoTable({ client, table }: DynamoTableOptions): DynamoTable {
  const subject = (pk: string) => `${pk} in table ${table}`;
  const write = async (action: string, pk: string, send: () => Promise<unknown>) => {
    try {
      await send();
      return { outcome: "written" } as const;
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) {
        throw awsError(action, subject(pk), error);
      }
      return { outcome: "refused", item: error.Item } as const;
    }
  };
  return {
    name: table,
    async get(action, key) {
      const input = { TableName: table, Key: attributesOf(key), ConsistentRead: true };
      const send = () => client.send(new GetItemCommand(input));
      return (await callAws(action, subject(key.pk), send)).Item;
    },
    getAtOnce: (action, keys) => getAtOnce({ client, table }, action, keys),
    async *query(action, range, pageItems) {
      let from: Item | undefined;
      for (let page = 1; page <= PAGES_MAX; page++) {
        const command = queryCommand(table, range, pageItems, from);
        const answer = await callAws(action, subject(range.pk), () => client.send(command));
        yield* answer.Items ?? [];
        from = answer.LastEvaluatedKey;
        if (from === undefined) return;
      }
      throw new SiltError("internal", `Cannot ${action} "${range.pk}": over ${PAGES_MAX} pages`);
    },
    put: (action, put) =>
      write(action, put.Item.pk?.S ?? "", () =>
        client.send(new PutItemCommand(inTable(table, put))),
      ),
    update: (action, key, update) =>
      write(action, key.pk, () =>
        client.send(new UpdateItemCommand(inTable(table, { ...update, Key: attributesOf(key) }))),
      ),
    async transact(action, items, token) {
      const input = { TransactItems: [...items], ClientRequestToken: token };
      try {
        await client.send(new TransactWriteItemsCommand(input));
        return { outcome: "written" };
      } catch (cause) {
        if (!(cause instanceof TransactionCanceledException)) {
          throw awsError(action, `table ${table}`, cause);
        }
        return { outcome: "cancelled", reasons: cause.CancellationReasons ?? [], cause };
      }
    },
  };
}

/** A write to the table that tells what is there when its condition fails. */
export const inTable = <Input extends Put | (Update & { readonly Key: Item })>(
  table: string,
  input: Input,
) => ({ ...input, TableName: table, ReturnValuesOnConditionCheckFailure: TELL_ITEM }) as const;

function queryCommand(table: string, range: KeyRange, pageItems: number, from: Item | undefined) {
  const { pk, where, values = {} } = range;
  const texts = Object.entries(values).map(([name, value]) => [name, text(value)] as const);
  return new QueryCommand({
    TableName: table,
    ConsistentRead: true,
    KeyConditionExpression: where === undefined ? "pk = :pk" : `pk = :pk AND ${where}`,
    ExpressionAttributeValues: { ":pk": text(pk), ...Object.fromEntries(texts) },
    Limit: Math.min(PAGE_ITEMS_MAX, pageItems),
    ...(from !== undefined && { ExclusiveStartKey: from }),
  });
}

async function getAtOnce(
  { client, table }: DynamoTableOptions,
  action: string,
  keys: readonly ItemKey[],
): Promise<readonly (Item | undefined)[]> {
  if (keys.length === 0) return [];
  assert(keys.length <= TRANSACTION_ITEMS_MAX, `one moment has ${TRANSACTION_ITEMS_MAX} items`);
  const TransactItems = keys.map((key) => ({ Get: { TableName: table, Key: attributesOf(key) } }));
  try {
    const answer = await client.send(new TransactGetItemsCommand({ TransactItems }));
    return keys.map((_, index) => answer.Responses?.[index]?.Item);
  } catch (cause) {
    if (!(cause instanceof TransactionCanceledException)) {
      throw awsError(action, `table ${table}`, cause);
    }
    throw cancelled(action, table, cause);
  }
}

const BUSY_REASONS: ReadonlySet<string> = new Set([
  "None",
  // Beside a conflict, of a condition that alone tells nothing.
  "ConditionalCheckFailed",
  "TransactionConflict",
  "ThrottlingError",
  "ProvisionedThroughputExceeded",
  "RequestLimitExceeded",
]);

/** A cancelled transaction that no condition refused: others were at it, or the request is wrong. */
export function cancelled(
  action: string,
  table: string,
  cause: TransactionCanceledException,
): SiltError {
  const reasons = cause.CancellationReasons ?? [];
  const wrong = reasons.find(({ Code = "None" }) => !BUSY_REASONS.has(Code));
  const codes = [...new Set(reasons.map(({ Code = "None" }) => Code))].join(", ");
  return wrong === undefined
    ? new SiltError(
        "unavailable",
        `Cannot ${action} "table ${table}": others write the same items (${codes}); try again`,
        { cause },
      )
    : new SiltError(
        "internal",
        `Cannot ${action} "table ${table}": ${wrong.Code}: ${wrong.Message ?? "no message"}`,
        { cause },
      );
}
