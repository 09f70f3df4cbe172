/** Checked rows as the contents of deltas: cut by size, each parent that is replaced in one piece. */
import {
  type CollectionIdentity,
  createDeltaBuffer,
  type DeltaBuffer,
  type Row,
  type ShardContent,
  SiltError,
  shardOf,
  shardOfKey,
} from "@silt/core";

export const DELTA_ROWS_MAX = 10_000;
export const DELTA_BYTES_MAX = 32 * 1024 * 1024;
/** A replaced parent never spans two deltas, so its records must fit into one. */
export const PARENT_ROWS_MAX = 100_000;

/** One buffer a shard. */
export interface ShardBuffers {
  readonly size: number;
  readonly bytes: number;
  add(row: Row): void;
  /** All earlier records of the parent go. */
  replace(parent: string): void;
  /** What was gathered, a content a shard; the buffers are empty afterwards. */
  take(): readonly ShardContent[];
}

/** Empty buffers for the shards of a collection. */
export function createShardBuffers(identity: CollectionIdentity): ShardBuffers {
  const buffers = new Map<string, DeltaBuffer>();
  const bufferOf = (shard: string) => {
    const buffer = buffers.get(shard) ?? createDeltaBuffer();
    buffers.set(shard, buffer);
    return buffer;
  };
  const sum = (of: (buffer: DeltaBuffer) => number) =>
    [...buffers.values()].reduce((total, buffer) => total + of(buffer), 0);
  return {
    get size() {
      return sum((buffer) => buffer.size);
    },
    get bytes() {
      return sum((buffer) => buffer.bytes);
    },
    add: (row) => bufferOf(shardOf(row.id, identity.shards)).add(row),
    replace: (parent) => bufferOf(shardOfKey(parent, identity.shards)).replace(parent),
    take() {
      const contents = [...buffers].map(([shard, buffer]) => contentOf(shard, buffer));
      buffers.clear();
      return contents;
    },
  };
}

function contentOf(shard: string, buffer: DeltaBuffer): ShardContent {
  return { shard, content: buffer.content(), bytes: buffer.bytes };
}

/** A row with the group that must stay together, if any. */
export interface GroupedRow {
  readonly row: Row;
  readonly group: string | null;
}

/**
 * Cuts the rows of one shard into contents. A new group is a parent to be replaced first; rows of one
 * group follow each other. Throws `invalid` for a group that no delta can hold.
 */
export async function* cutContents(
  shard: string,
  rows: Iterable<GroupedRow> | AsyncIterable<GroupedRow>,
): AsyncGenerator<ShardContent, void> {
  let buffer = createDeltaBuffer();
  let group: string | null = null;
  let groupRows = 0;
  for await (const { row, group: next } of rows) {
    const starts = next === null || next !== group;
    if (starts && (buffer.size >= DELTA_ROWS_MAX || buffer.bytes >= DELTA_BYTES_MAX)) {
      yield contentOf(shard, buffer);
      buffer = createDeltaBuffer();
    }
    if (starts && next !== null) buffer.replace(next);
    groupRows = starts ? 1 : groupRows + 1;
    if (groupRows > PARENT_ROWS_MAX) {
      throw new SiltError(
        "invalid",
        `Cannot replace parent "${next}": it has over ${PARENT_ROWS_MAX} records, which one delta cannot hold`,
      );
    }
    group = next;
    buffer.add(row);
  }
  if (buffer.size > 0) yield contentOf(shard, buffer);
}
