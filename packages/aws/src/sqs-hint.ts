import { COLLECTION_NAME, type Hint } from "@silt/core";

const STORE_ID = /^[0-9a-z]{8,32}$/;
const SHARD = /^\d{1,3}-of-\d{1,3}$/;

/** The body of a message. */
export function formatHint({ collection, storeId, shard }: Hint): string {
  return JSON.stringify({ collection, storeId, shard });
}

/** The hint that a message's body is; undefined for a message of somebody else. */
export function parseHint(body: string): Hint | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { collection, storeId, shard } = value as Readonly<Record<string, unknown>>;
  const right =
    matches(collection, COLLECTION_NAME) && matches(storeId, STORE_ID) && matches(shard, SHARD);
  return right ? { collection, storeId, shard } : undefined;
}

function matches(value: unknown, pattern: RegExp): value is string {
  return typeof value === "string" && pattern.test(value);
}
