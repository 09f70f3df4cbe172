/** One collection: what it says of itself, each of its shards, and what lies beside them. */
import { shardRefs } from "./collection.ts";
import {
  type CollectionContents,
  collectionFolders,
  contentsOf,
  wasEverUsed,
} from "./collection-folders.ts";
import {
  COLLECTION_NAME,
  type CollectionIdentity,
  type Policy,
  parseCollection,
  parsePolicy,
  type VectorField,
} from "./formats.ts";
import { COLLECTIONS_PREFIX, collectionKey, policyKey, shardPrefix } from "./object-keys.ts";
import type { ShardRef } from "./ports.ts";
import { isSiltError, SiltError } from "./silt-error.ts";
import type { VerifyContext } from "./verify-context.ts";
import { type ProblemKind, unlessDamaged, unlessLogDamaged } from "./verify-report.ts";
import { verifyShard } from "./verify-shard.ts";

const BYTES_MAX = 64 * 1024;
/** So many names are told to somebody who gave another. */
const NAMES_MAX = 100;

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
  const policy = await readJson(context, policyKey(name), "policy", parsePolicy);
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
    const { vectors } = plan;
    await verifyShard({ ...context, shard, vectors, deltasKeptUntil: keptUntil(context, policy) });
  }
  for (const key of plan.leftovers) {
    findings.notice(key, "leftover", "It belongs to no shard of the collection; nobody reads it");
  }
  for (const shard of plan.foreign) await reportForeign(context, shard);
}

/** Up to when applied bundles may be gone. A policy that cannot be read excuses nothing. */
function keptUntil({ ports }: VerifyContext, policy: Policy | undefined): number | undefined {
  const deltasKeptMs = policy?.retention.deltasKeptMs ?? null;
  return deltasKeptMs === null ? undefined : ports.clock.nowMs() - deltasKeptMs;
}

/** A shard that the collection does not name: debris of a lost creation, unless runs were acknowledged. */
async function reportForeign({ ports, findings }: VerifyContext, shard: ShardRef): Promise<void> {
  // A log that cannot be read is told with the shards that are the collection's.
  const head = await unlessLogDamaged(
    () => ports.log.readHead(shard),
    () => {},
  );
  const runs = head?.sequence ?? 0;
  if (runs > 0) {
    const message =
      `It does not name store id ${shard.storeId}, shard ${shard.shard}, which has ${runs} acknowledged runs: ` +
      "nobody reads them";
    findings.problem(collectionKey(shard.collection), "collection-mismatch", message);
    return;
  }
  const message = "It belongs to no shard of the collection; nobody reads it";
  findings.notice(shardPrefix(shard), "leftover", message);
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
  /** Keys outside every shard. */
  readonly leftovers: readonly string[];
  /** Shards that are there, but not the collection's. */
  readonly foreign: readonly ShardRef[];
  readonly problem?: string;
}

/** Pure: which shards to verify, by what the collection says and what its folder holds. */
export function planShards(
  name: string,
  identity: CollectionIdentity | undefined,
  { shards, others }: CollectionContents,
): ShardPlan {
  const strays = others.filter((key) => key !== collectionKey(name) && key !== policyKey(name));
  const unknown = { shards, vectors: undefined, leftovers: strays, foreign: [] };
  if (identity === undefined) return unknown;
  const told = shardRefs(identity);
  const prefixes = new Set(told.map(shardPrefix));
  const foreign = shards.filter((shard) => !prefixes.has(shardPrefix(shard)));
  const nothingTold = foreign.length === shards.length && foreign.length > 0;
  if (nothingTold) {
    const [first] = foreign as [ShardRef];
    const problem =
      `It names store id ${identity.storeId} with ${identity.shards} shards, of which nothing is there; ` +
      `what lies there is store id ${first.storeId}, shard ${first.shard}`;
    return { ...unknown, problem };
  }
  return { shards: told, vectors: identity.vectors, leftovers: strays, foreign };
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
  const names: string[] = [];
  for await (const folder of collectionFolders(ports.objects)) {
    if ("name" in folder) names.push(folder.name);
    if (names.length >= NAMES_MAX) break;
  }
  const known = names.length === 0 ? "there is none yet" : `there are ${names.join(", ")}`;
  throw new SiltError(
    "invalid",
    `Cannot verify collection "${name}": it does not exist (${known})`,
  );
}
