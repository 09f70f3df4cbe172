/** Deletes by a filter: decided on exactly one state of the log, registered only if it still is the state (rule 7). */
import { shardRefs } from "./collection.ts";
import { createDeltaBuffer } from "./delta-buffer.ts";
import type { CollectionIdentity } from "./formats.ts";
import { shardPartition } from "./object-keys.ts";
import type { Head, Ports } from "./ports.ts";
import type { RegisteredRun } from "./register-runs.ts";
import { isStillCurrent, type OpenVersion, type VersionView } from "./shard-reader.ts";
import { SiltError } from "./silt-error.ts";
import { type ShardContent, writeDeltas } from "./write-deltas.ts";

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
 * HEAD, else decided again. Throws `conflict` when others write faster, a bounded number of times.
 */
export async function deleteWhere<View extends VersionView<OpenVersion>>(
  ports: Ports,
  identity: CollectionIdentity,
  scope: DeleteScope<View>,
): Promise<readonly RegisteredRun[]> {
  for (let attempt = 1; attempt <= DECISIONS_MAX; attempt++) {
    const decided = await decide(ports, identity, scope);
    if (decided === "overtaken") {
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

async function decide<View extends VersionView<OpenVersion>>(
  ports: Ports,
  identity: CollectionIdentity,
  { views: open, matching }: DeleteScope<View>,
): Promise<Decision | "overtaken"> {
  const views = await open();
  try {
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
    for (const view of views) view[Symbol.dispose]();
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
