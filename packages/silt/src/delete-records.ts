/** Deletes: by id, by parent, and by filter, which decides on exactly one state of the log. */
import {
  type CollectionIdentity,
  checkId,
  createDeltaBuffer,
  type Head,
  type Ports,
  type RegisteredRun,
  type ShardContent,
  SiltError,
  shardPartition,
  shardRefs,
  type Where,
  writeDeltas,
} from "@silt/core";
import { type CollectionReader, matchesFilter, type ShardView, scanRecords } from "@silt/reader";
import { createShardBuffers } from "./shard-contents.ts";

const DECISIONS_MAX = 10;
/** A filter that deletes more asks for another tool. */
const IDS_MAX = 1_000_000;

/** What to delete; exactly one of them. */
export type DeleteSelection =
  | { readonly ids: readonly string[] }
  | { readonly parents: readonly string[] }
  | { readonly where: Where };

/** Deletes ids or all records of parents, whether they exist or not. */
export async function deleteByName(
  ports: Ports,
  identity: CollectionIdentity,
  { ids = [], parents = [] }: { ids?: readonly string[]; parents?: readonly string[] },
): Promise<readonly RegisteredRun[]> {
  const action = `delete from "${identity.collection}"`;
  for (const id of ids) checkId(action, id);
  for (const parent of parents) checkId(action, parent, "parent");
  const buffers = createShardBuffers(identity);
  for (const parent of parents) buffers.replace(parent);
  for (const id of ids) buffers.add({ operation: "delete", id, sequence: 0 });
  const written = await writeDeltas(ports, identity, buffers.take());
  return written.outcome === "written" ? written.runs : [];
}

/**
 * Deletes what matches now: resolved by a fresh read at a HEAD, registered only if that is still the
 * HEAD, else decided again. Throws `conflict` when others write faster, a bounded number of times.
 */
export async function deleteByFilter(
  ports: Ports,
  identity: CollectionIdentity,
  reader: CollectionReader,
  where: Where,
): Promise<readonly RegisteredRun[]> {
  for (let attempt = 1; attempt <= DECISIONS_MAX; attempt++) {
    const decided = await decide(identity, reader, where);
    if (decided === "excluding") {
      await ports.clock.sleep(ports.random.fraction() * 100 * attempt);
      continue;
    }
    if (decided.contents.length === 0) return [];
    const { contents, heads } = decided;
    const written = await writeDeltas(ports, identity, contents, { heads });
    if (written.outcome === "written") return written.runs;
    await ports.clock.sleep(ports.random.fraction() * 20 * attempt);
  }
  throw new SiltError(
    "conflict",
    `Cannot delete by filter from "${identity.collection}": others wrote faster ${DECISIONS_MAX} times; try again`,
  );
}

interface Decision {
  readonly contents: readonly ShardContent[];
  readonly heads: ReadonlyMap<string, Head>;
}

async function decide(
  identity: CollectionIdentity,
  reader: CollectionReader,
  where: Where,
): Promise<Decision | "excluding"> {
  const views = await reader.views({ fresh: true });
  try {
    // An exclusion that is about to flip may bring back what a run to be excluded has hidden.
    if (views.some(({ head }) => head.excluding !== null)) return "excluding";
    const contents = views.flatMap((view) => deletesIn(identity, view, where));
    const touched = new Set(contents.map(({ shard }) => shard));
    const heads = new Map(
      shardRefs(identity)
        .filter(({ shard }) => touched.has(shard))
        .map((ref) => [shardPartition(ref), headOf(views, ref.shard)]),
    );
    return { contents, heads };
  } finally {
    for (const view of views) view[Symbol.dispose]();
  }
}

const headOf = (views: readonly ShardView[], shard: string) =>
  (views.find((view) => view.shard === shard) as ShardView).head;

function deletesIn(identity: CollectionIdentity, view: ShardView, where: Where): ShardContent[] {
  if (view.behind > 0) {
    const { blockedBy } = view;
    throw new SiltError(
      "unavailable",
      `Cannot delete by filter from "${identity.collection}": run ${blockedBy?.sequence} cannot be read (${blockedBy?.reason}), ` +
        "so what matches is not known; compact first",
    );
  }
  const buffer = createDeltaBuffer();
  for (const record of scanRecords(view.layers)) {
    if (!matchesFilter(record, { where })) continue;
    buffer.add({ operation: "delete", id: record.id, sequence: 0 });
    if (buffer.size > IDS_MAX) {
      throw new SiltError(
        "invalid",
        `Cannot delete by filter from "${identity.collection}": over ${IDS_MAX} records match; use a narrower filter`,
      );
    }
  }
  if (buffer.size === 0) return [];
  return [{ shard: view.shard, content: buffer.content(), bytes: buffer.bytes }];
}
