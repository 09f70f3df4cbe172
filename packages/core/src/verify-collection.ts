/** One collection: what it says of itself, each of its shards, and what lies beside them. */
import { shardRefs } from "./collection.ts";
import {
  COLLECTION_NAME,
  type CollectionIdentity,
  parseCollection,
  parsePolicy,
  type VectorField,
} from "./formats.ts";
import { COLLECTIONS_PREFIX, collectionKey, policyKey, shardPrefix } from "./object-keys.ts";
import type { ShardRef } from "./ports.ts";
import { isSiltError, SiltError } from "./silt-error.ts";
import type { VerifyContext } from "./verify-context.ts";
import { type CollectionContents, contentsOf, wasEverUsed } from "./verify-folders.ts";
import { type ProblemKind, unlessDamaged, unlessLogDamaged } from "./verify-report.ts";
import { verifyShard } from "./verify-shard.ts";

const BYTES_MAX = 64 * 1024;

/** Verifies everything under `collections/<name>/`. */
export async function verifyCollection(context: VerifyContext, name: string): Promise<void> {
  const { ports, findings } = context;
  const contents = await contentsOf(ports.objects, name);
  const isThere = contents.others.includes(collectionKey(name));
  if (!isThere && !(await anyUsed(context, contents.shards))) {
    const message =
      "No collection.json: its creation goes on, or was never finished; nobody reads it";
    findings.notice(`${COLLECTIONS_PREFIX}${name}/`, "leftover", message);
    return;
  }
  const identity = await readJson(context, collectionKey(name), "collection", parseCollection);
  await readJson(context, policyKey(name), "policy", parsePolicy);
  const isMine = identity === undefined || identity.collection === name;
  if (!isMine) {
    const message = `It is the file of collection "${identity.collection}"`;
    findings.problem(collectionKey(name), "collection-mismatch", message);
  }
  const plan = planShards(name, isMine ? identity : undefined, contents);
  if (plan.problem !== undefined) {
    findings.problem(collectionKey(name), "collection-mismatch", plan.problem);
  }
  for (const shard of plan.shards) {
    context.signal?.throwIfAborted();
    await verifyShard({ ...context, shard, vectors: plan.vectors });
  }
  for (const prefix of plan.leftovers) {
    findings.notice(
      prefix,
      "leftover",
      "It belongs to no shard of the collection; nobody reads it",
    );
  }
}

async function anyUsed({ ports }: VerifyContext, shards: readonly ShardRef[]): Promise<boolean> {
  for (const shard of shards) {
    // What the log cannot say is told with the shard.
    const used = await unlessLogDamaged(
      () => wasEverUsed(ports, shard),
      () => {},
    );
    if (used !== false) return true;
  }
  return false;
}

export interface ShardPlan {
  readonly shards: readonly ShardRef[];
  readonly vectors: readonly VectorField[] | undefined;
  readonly leftovers: readonly string[];
  readonly problem?: string;
}

/** Pure: which shards to verify, by what the collection says and what its folder holds. */
export function planShards(
  name: string,
  identity: CollectionIdentity | undefined,
  { shards, others }: CollectionContents,
): ShardPlan {
  const strays = others.filter((key) => key !== collectionKey(name) && key !== policyKey(name));
  if (identity === undefined) return { shards, vectors: undefined, leftovers: strays };
  const told = shardRefs(identity);
  const prefixes = new Set(told.map(shardPrefix));
  const foreign = shards.filter((shard) => !prefixes.has(shardPrefix(shard)));
  const nothingTold = foreign.length === shards.length && foreign.length > 0;
  if (nothingTold) {
    const [first] = foreign as [ShardRef];
    const problem =
      `It names store id ${identity.storeId} with ${identity.shards} shards, of which nothing is there; ` +
      `what lies there is store id ${first.storeId}, shard ${first.shard}`;
    return { shards, vectors: undefined, leftovers: strays, problem };
  }
  const leftovers = [...strays, ...foreign.map(shardPrefix)];
  return { shards: told, vectors: identity.vectors, leftovers };
}

/** A sealed file of the collection; damage is reported. */
async function readJson<T>(
  { ports, findings, progress }: VerifyContext,
  key: string,
  what: "collection" | "policy",
  parse: (bytes: Uint8Array, what: string) => T,
): Promise<T | undefined> {
  progress.expect(1);
  progress.done();
  const report = (kind: ProblemKind) => (error: SiltError) =>
    findings.problem(key, isLaterFormat(error) ? "format-unknown" : kind, error.message);
  const found = await unlessDamaged(
    () => ports.objects.get(key, { bytesMax: BYTES_MAX }),
    ({ message }) => findings.problem(key, `${what}-damaged`, message),
  );
  if (found === undefined) return undefined;
  if (found.outcome !== "found") {
    findings.problem(key, `${what}-missing`, "It is gone");
    return undefined;
  }
  findings.count({ objects: 1, bytes: found.bytes.byteLength });
  return unlessDamaged(() => parse(found.bytes, `${what} "${key}"`), report(`${what}-damaged`));
}

const isLaterFormat = (error: SiltError): boolean => isSiltError(error, "invalid");

/** Throws `invalid` unless something of this name is there to verify. */
export async function checkExists({ ports }: VerifyContext, name: string): Promise<void> {
  if (COLLECTION_NAME.test(name)) {
    const prefix = `${COLLECTIONS_PREFIX}${name}/`;
    const [found] = await ports.objects.list(prefix, { limit: 1 });
    if (found !== undefined) return;
  }
  throw new SiltError("invalid", `Cannot verify collection "${name}": there is none of this name`);
}
