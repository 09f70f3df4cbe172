/**
 * Deletes by a filter: each shard is decided on exactly one state of its log, and registered only if it still is the
 * state (rule 7). Shards are registered in groups, each in one transaction, as in any large write.
 */
import { shardRefs } from "./collection.ts";
import { createDeltaBuffer } from "./delta-buffer.ts";
import type { CollectionIdentity } from "./formats.ts";
import { shardPartition } from "./object-keys.ts";
import type { Head, Ports } from "./ports.ts";
import type { RegisteredRun } from "./register-runs.ts";
import { isStillCurrent, type OpenVersion, type VersionView } from "./shard-reader.ts";
import { SiltError } from "./silt-error.ts";
import { GROUP_RUNS_MAX, halfWritten, type ShardContent, writeDeltas } from "./write-deltas.ts";

const DECISIONS_MAX = 10;
/** A filter that deletes more asks for another tool. */
const IDS_MAX = 1_000_000;

/** How records are looked through. */
export interface DeleteScope<View extends VersionView<OpenVersion>> {
  /** Fresh views of all shards; each is disposed when the decision is made. */
  readonly views: () => Promise<readonly View[]>;
  /** Ids of the records of a view that are to be deleted. */
  readonly matching: (view: View) => Iterable<string>;
}

/**
 * Deletes what matches now: resolved by a fresh read at a HEAD, registered only if that is still the
 * HEAD, else decided again. One transaction up to {@link GROUP_RUNS_MAX} shards in which something matches; of more,
 * each group is one, and those whose HEADs moved are decided again alone. Throws `conflict` when others write
 * faster, a bounded number of times. What is registered stands when the rest fails: the error's `details.runs`.
 */
export async function deleteWhere<View extends VersionView<OpenVersion>>(
  ports: Ports,
  identity: CollectionIdentity,
  scope: DeleteScope<View>,
): Promise<readonly RegisteredRun[]> {
  const done = new Map<string, RegisteredRun>();
  try {
    for (let attempt = 1; attempt <= DECISIONS_MAX; attempt++) {
      const decided = await decide(ports, identity, scope, done);
      if (decided === "overtaken") {
        await ports.clock.sleep(ports.random.fraction() * 100 * attempt);
        continue;
      }
      const before = done.size;
      const isMoved = await registerGroups(ports, identity, decided, done);
      if (!isMoved) return [...done.values()];
      // Who gets on is not slower than others: at most as many times as there are groups.
      if (done.size > before) attempt = 0;
      await ports.clock.sleep(ports.random.fraction() * 20 * attempt);
    }
    throw new SiltError(
      "conflict",
      `Cannot delete by filter from "${identity.collection}": others wrote faster ${DECISIONS_MAX} times; try again`,
    );
  } catch (error) {
    throw done.size === 0 ? error : halfWritten(identity, [...done.values()], error);
  }
}

/** Registers what was decided, group by group, into `done`. True when a HEAD moved under one of them. */
async function registerGroups(
  ports: Ports,
  identity: CollectionIdentity,
  { contents, heads }: Decision,
  done: Map<string, RegisteredRun>,
): Promise<boolean> {
  let isMoved = false;
  for (let start = 0; start < contents.length; start += GROUP_RUNS_MAX) {
    const group = contents.slice(start, start + GROUP_RUNS_MAX);
    const written = await writeDeltas(ports, identity, group, { heads });
    if (written.outcome === "head-moved") isMoved = true;
    else for (const run of written.runs) done.set(run.shard, run);
  }
  return isMoved;
}

interface Decision {
  readonly contents: readonly ShardContent[];
  readonly heads: ReadonlyMap<string, Head>;
}

async function decide<View extends VersionView<OpenVersion>>(
  ports: Ports,
  identity: CollectionIdentity,
  { views: open, matching }: DeleteScope<View>,
  done: ReadonlyMap<string, RegisteredRun>,
): Promise<Decision | "overtaken"> {
  const opened = await open();
  try {
    const views = opened.filter(({ shard }) => !done.has(shard));
    // An exclusion that is about to flip may bring back what a run to be excluded has hidden.
    if (views.some(({ head }) => head.excluding !== null)) return "overtaken";
    for (const ref of shardRefs(identity)) {
      const view = views.find(({ shard }) => shard === ref.shard);
      if (view && !(await isStillCurrent(ports, ref, view))) return "overtaken";
    }
    const contents = views.flatMap((view) => deletesIn(identity, view, matching(view)));
    const touched = new Set(contents.map(({ shard }) => shard));
    const heads = shardRefs(identity).flatMap((ref): [string, Head][] => {
      const view = views.find(({ shard }) => shard === ref.shard);
      return view && touched.has(ref.shard) ? [[shardPartition(ref), view.head]] : [];
    });
    return { contents, heads: new Map(heads) };
  } finally {
    for (const view of opened) view[Symbol.dispose]();
  }
}

function deletesIn(
  identity: CollectionIdentity,
  view: VersionView<OpenVersion>,
  ids: Iterable<string>,
): readonly ShardContent[] {
  if (view.behind > 0) {
    const { blockedBy } = view;
    throw new SiltError(
      "unavailable",
      `Cannot delete by filter from "${identity.collection}": run ${blockedBy?.sequence} cannot be read (${blockedBy?.reason}), ` +
        "so what matches is not known; compact first",
    );
  }
  const buffer = createDeltaBuffer();
  for (const id of ids) {
    buffer.add({ operation: "delete", id, sequence: 0 });
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
