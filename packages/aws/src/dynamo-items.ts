/**
 * What lies in the log table: its keys, its items, and their one reader and writer. Partition key
 * `pk`, sort key `sk`, both strings; an absent attribute is null. Nothing is ever deleted, and no TTL.
 *
 *     pk                               sk                             attributes
 *     <collection>/<storeId>/<shard>   HEAD                           sequence N, runsHash S, floor S,
 *                                                                     excluding S?, excludeRev N
 *                                      APPLIED                        version N, appliedThrough N
 *                                      LEASE                          see dynamo-lease-store.ts
 *                                      RUN#<sequence, 16 digits>      run S, digest S
 *                                      RUNID#<runId>                  state S, sequence N?
 *                                      VERSION#<16 digits>#<commitId> item S, rev N, digest S
 *     SOURCE#<family>#<0..f>           <uri>                          guard S, rev N, digest S
 *     STORE                            STORE                          bindingId S, bucket S, prefix S
 *
 * `run`, `item` and `guard` are the canonical JSON documents that every log keeps. The other items
 * say `format` N and `requires` L themselves. Items stay under 1 KB where they can: a transaction
 * writes each begun KB twice.
 */
import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import {
  type Applied,
  canonicalJson,
  FORMAT,
  type Guard,
  type GuardKey,
  type Head,
  parseGuard,
  parseRun,
  parseVersionItem,
  type Run,
  type RunIdState,
  type ShardRef,
  SiltError,
  sha256Of,
  shardPartition,
  type VersionItem,
  type VersionKey,
} from "@silt/core";

export type Item = Record<string, AttributeValue>;

export interface ItemKey {
  readonly pk: string;
  readonly sk: string;
}

const DIGITS = 16;
/** A sort key holds 1,024 bytes; a longer URI is cut here, and its hash follows. */
const URI_BYTES_MAX = 900;
/** Guards must be listed in order: few partitions to ask, and not one that takes all writes. */
const GUARD_PARTITIONS = "0123456789abcdef";

// ---------------------------------------------------------------- keys

const numbered = (value: number) => String(value).padStart(DIGITS, "0");
const inShard = (shard: ShardRef, sk: string): ItemKey => ({ pk: shardPartition(shard), sk });

export const headKey = (shard: ShardRef): ItemKey => inShard(shard, "HEAD");
export const appliedKey = (shard: ShardRef): ItemKey => inShard(shard, "APPLIED");
export const leaseKey = (shard: ShardRef): ItemKey => inShard(shard, "LEASE");
export const runKey = (shard: ShardRef, sequence: number): ItemKey =>
  inShard(shard, `${RUN_PREFIX}${numbered(sequence)}`);
export const runIdKey = (shard: ShardRef, runId: string): ItemKey =>
  inShard(shard, `RUNID#${runId}`);
export const versionKey = (shard: ShardRef, { version, commitId }: VersionKey): ItemKey =>
  inShard(shard, `${VERSION_PREFIX}${numbered(version)}#${commitId}`);

/** What the sort keys of runs begin with, and no others: streams are filtered by it. */
export const RUN_PREFIX = "RUN#";
export const VERSION_PREFIX = "VERSION#";
/** Above every sort key that begins with {@link VERSION_PREFIX}. */
export const VERSIONS_END = "VERSION$";

/** The shard whose items lie in a partition; undefined when no shard's do. */
export function shardOfPartition(pk: string): ShardRef | undefined {
  const [collection, storeId, shard, ...more] = pk.split("/");
  if (collection === undefined || storeId === undefined || shard === undefined) return undefined;
  return more.length === 0 && !pk.includes("#") ? { collection, storeId, shard } : undefined;
}

export const guardKey = ({ family, uri }: GuardKey): ItemKey => ({
  pk: guardPartition(family, sha256Of(uri).charAt(0)),
  sk: guardSortKey(uri),
});

export const guardPartitions = (family: string): readonly string[] =>
  [...GUARD_PARTITIONS].map((digit) => guardPartition(family, digit));

const guardPartition = (family: string, digit: string) => `SOURCE#${family}#${digit}`;

/** Where a URI stands in the order of its family: by its bytes, those of very long ones by their beginning. */
export function guardSortKey(uri: string): string {
  const bytes = Buffer.from(uri);
  if (bytes.byteLength <= URI_BYTES_MAX) return uri;
  let end = URI_BYTES_MAX;
  // Bytes 10xxxxxx continue a character.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return `${bytes.toString("utf8", 0, end)}#${sha256Of(uri)}`;
}

// ---------------------------------------------------------------- attributes

export const text = (value: string): AttributeValue => ({ S: value });
export const number = (value: number): AttributeValue => ({ N: String(value) });
/** 128 bits as hexadecimal digits. */
const DIGEST_CHARS = 32;

/** What items without a document say of themselves. */
export const header = (): Item => ({ format: number(FORMAT), requires: { L: [] } });

/** The string of an attribute; throws `corrupt` when the item has none. */
export function textOf(item: Item, name: string, what: string): string {
  const value = item[name]?.S;
  if (value !== undefined) return value;
  throw new SiltError("corrupt", `Cannot read ${what}: it has no "${name}", expected a string`);
}

/** The number of an attribute; throws `corrupt` when the item has none. */
export function numberOf(item: Item, name: string, what: string): number {
  const value = Number(item[name]?.N ?? Number.NaN);
  if (Number.isFinite(value)) return value;
  throw new SiltError("corrupt", `Cannot read ${what}: it has no "${name}", expected a number`);
}

/**
 * Throws `corrupt` for an item without a header, `invalid` for one that a later version of Silt wrote in
 * a way that must not be ignored.
 */
export function checkHeader(item: Item, what: string): void {
  const format = numberOf(item, "format", what);
  const list = item.requires?.L;
  if (format === FORMAT && list === undefined) {
    throw new SiltError("corrupt", `Cannot read ${what}: it has no "requires", expected a list`);
  }
  const requires = (list ?? []).map(({ S }) => S ?? "something");
  if (format === FORMAT && requires.length === 0) return;
  throw new SiltError(
    "invalid",
    `Cannot read ${what}: it has format ${format} and requires [${requires.join(", ")}], ` +
      `expected format ${FORMAT}; upgrade Silt`,
  );
}

/** Bytes that the service counts for an item of strings, numbers and lists; numbers are counted generously. */
export function itemBytes(item: Item): number {
  let bytes = 0;
  for (const [name, { S, N }] of Object.entries(item)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(S ?? N ?? "   ");
  }
  return bytes;
}

// ---------------------------------------------------------------- items

/** An item that is a document: what a hand, or a bit, changes in it is noticed wherever it is read. */
function documentItem(key: ItemKey, name: string, document: object, rev?: number): Item {
  const item = {
    ...attributesOf(key),
    [name]: text(canonicalJson(document)),
    ...(rev !== undefined && { rev: number(rev) }),
  };
  return { ...item, digest: text(documentDigest(item, name)) };
}

/** The document of an item, as bytes. Throws `corrupt` when it is not what was written. */
function documentOf(item: Item, name: string, what: string): Uint8Array {
  const document = textOf(item, name, what);
  if (item.digest?.S === documentDigest(item, name)) return Buffer.from(document);
  throw new SiltError(
    "corrupt",
    `Cannot read ${what}: it does not match its digest, so that it is not what was written; restore the table`,
  );
}

/** SHA-256, cut to 128 bits, of key, document and revision. */
function documentDigest(item: Item, name: string): string {
  const parts = [item.pk?.S, item.sk?.S, item[name]?.S, item.rev?.N].map((part) => part ?? null);
  return sha256Of(canonicalJson(parts)).slice(0, DIGEST_CHARS);
}

const named = (what: string, { pk }: ItemKey) => `${what} of "${pk}"`;

export function headItem(shard: ShardRef, head: Head): Item {
  return {
    ...attributesOf(headKey(shard)),
    ...header(),
    sequence: number(head.sequence),
    runsHash: text(head.runsHash),
    floor: text(head.floor),
    ...(head.excluding !== null && { excluding: text(head.excluding) }),
    excludeRev: number(head.excludeRev),
  };
}

export function parseHead(shard: ShardRef, item: Item): Head {
  const what = named("HEAD", headKey(shard));
  checkHeader(item, what);
  return {
    sequence: numberOf(item, "sequence", what),
    runsHash: textOf(item, "runsHash", what),
    floor: textOf(item, "floor", what),
    excluding: item.excluding === undefined ? null : textOf(item, "excluding", what),
    excludeRev: numberOf(item, "excludeRev", what),
  };
}

export function appliedItem(shard: ShardRef, { version, appliedThrough }: Applied): Item {
  return {
    ...attributesOf(appliedKey(shard)),
    ...header(),
    version: number(version),
    appliedThrough: number(appliedThrough),
  };
}

export function parseApplied(shard: ShardRef, item: Item): Applied {
  const what = named("APPLIED", appliedKey(shard));
  checkHeader(item, what);
  return {
    version: numberOf(item, "version", what),
    appliedThrough: numberOf(item, "appliedThrough", what),
  };
}

export const runItem = (shard: ShardRef, run: Run): Item =>
  documentItem(runKey(shard, run.sequence), "run", run);

/** Checks that the run is the one whose key the item has. */
export function parseRunItem(shard: ShardRef, item: Item): Run {
  const sk = textOf(item, "sk", "a run");
  const what = named(sk, runKey(shard, 0));
  const run = parseRun(documentOf(item, "run", what), what);
  if (runKey(shard, run.sequence).sk === sk) return run;
  throw new SiltError(
    "corrupt",
    `Cannot read ${what}: it says that it is run ${run.sequence} "${run.runId}"`,
  );
}

export const runIdItem = (shard: ShardRef, runId: string, state: RunIdState): Item => ({
  ...attributesOf(runIdKey(shard, runId)),
  ...header(),
  state: text(state.state),
  ...(state.state === "registered" && { sequence: number(state.sequence) }),
});

export function parseRunId(shard: ShardRef, runId: string, item: Item | undefined): RunIdState {
  if (item === undefined) return { state: "absent" };
  const what = named(`run id "${runId}"`, runIdKey(shard, runId));
  checkHeader(item, what);
  const state = textOf(item, "state", what);
  if (state === "abandoned") return { state };
  if (state === "registered") return { state, sequence: numberOf(item, "sequence", what) };
  throw new SiltError(
    "corrupt",
    `Cannot read ${what}: it is "${state}", expected "registered" or "abandoned"`,
  );
}

export const versionItemOf = (shard: ShardRef, item: VersionItem, rev: number): Item =>
  documentItem(versionKey(shard, item), "item", item, rev);

/** Checks that the version is the one whose key the item has. */
export function parseVersion(shard: ShardRef, item: Item): VersionItem {
  const sk = textOf(item, "sk", "the item of a version");
  const what = named(sk, headKey(shard));
  const parsed = parseVersionItem(documentOf(item, "item", what), what);
  if (versionKey(shard, parsed).sk === sk) return parsed;
  throw new SiltError(
    "corrupt",
    `Cannot read ${what}: it says that it is of version ${parsed.version}, commit "${parsed.commitId}"`,
  );
}

export const guardItem = (guard: Guard): Item =>
  documentItem(guardKey(guard), "guard", guard, guard.rev);

/** Checks that the guard is of the source whose key the item has, at the revision that conditions see. */
export function parseGuardItem(item: Item): Guard {
  const [pk, sk] = ["pk", "sk"].map((name) => textOf(item, name, "a guard"));
  const what = `the guard of "${sk}" in "${pk}"`;
  const guard = parseGuard(documentOf(item, "guard", what), what);
  const key = guardKey(guard);
  const rev = numberOf(item, "rev", what);
  if (key.pk === pk && key.sk === sk && guard.rev === rev) return guard;
  throw new SiltError(
    "corrupt",
    `Cannot read ${what} at revision ${rev}: it says that it is of "${guard.uri}" at revision ${guard.rev}`,
  );
}

/** A key as attributes of its item. */
export const attributesOf = ({ pk, sk }: ItemKey): Item => ({ pk: text(pk), sk: text(sk) });
