/** Deletes: by id, by parent, and by filter, which decides on exactly one state of the log. */
import {
  type CollectionIdentity,
  checkId,
  deleteWhere,
  type Ports,
  type RegisteredRun,
  type Where,
  writeDeltas,
} from "@silt/core";
import { type CollectionReader, matchesFilter, type ShardView, scanRecords } from "@silt/reader";
import { createShardBuffers } from "./shard-contents.ts";

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

/** Deletes what matches now: {@link deleteWhere}, over what the reader sees. */
export function deleteByFilter(
  ports: Ports,
  identity: CollectionIdentity,
  reader: CollectionReader,
  where: Where,
): Promise<readonly RegisteredRun[]> {
  function* matching(view: ShardView): Generator<string, void> {
    for (const record of scanRecords(view.layers)) {
      if (matchesFilter(record, { where })) yield record.id;
    }
  }
  return deleteWhere(ports, identity, { views: () => reader.views({ fresh: true }), matching });
}
