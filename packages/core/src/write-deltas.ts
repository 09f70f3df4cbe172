/** A write as a whole: contents become bundles, bundles become runs. Returns only when all are registered. */
import { shardRefs } from "./collection.ts";
import type { CollectionIdentity } from "./formats.ts";
import type { Ports, SegmentOwner, Workbench } from "./ports.ts";
import { publishDelta } from "./publish-delta.ts";
import {
  type RegisteredRun,
  type RegisterOptions,
  type RunDraft,
  registerRuns,
} from "./register-runs.ts";
import type { SegmentContent } from "./row.ts";
import { assert, isSiltError, reasonOf, SiltError } from "./silt-error.ts";

/** What one delta will hold. Ids and parents lie in the named shard. */
export interface ShardContent {
  /** E.g. `0-of-4`. */
  readonly shard: string;
  readonly content: SegmentContent;
  /** About its size in memory. */
  readonly bytes: number;
}

export interface WriteOptions {
  readonly source?: string | null;
  readonly retryOf?: number | null;
  readonly signal?: AbortSignal | undefined;
  /** Register only on exactly these HEADs: then all contents, `GROUP_RUNS_MAX` at most, are one transaction. */
  readonly heads?: RegisterOptions["heads"];
  /** Called before a group is registered, with the run ids that it will have. */
  readonly onDrafts?: (drafts: readonly RunDraft[]) => Promise<void>;
  readonly onRegistered?: (runs: readonly RegisteredRun[]) => void;
}

export type WriteOutcome =
  | { readonly outcome: "written"; readonly runs: readonly RegisteredRun[] }
  /** Only with `heads`: decide again. */
  | { readonly outcome: "head-moved" };

/** Contents are registered together up to so many, and about so many bytes; three log items each. */
export const GROUP_RUNS_MAX = 32;
const GROUP_BYTES_MAX = 32 * 1024 * 1024;
const PUBLISH_ATTEMPTS_MAX = 3;

/**
 * Publishes and registers contents in order. A call of ordinary size is one transaction; a larger one
 * is atomic for each group, and when it fails half way the error's `details.runs` are durable.
 */
export async function writeDeltas(
  ports: Ports,
  identity: CollectionIdentity,
  contents: Iterable<ShardContent> | AsyncIterable<ShardContent>,
  options: WriteOptions = {},
): Promise<WriteOutcome> {
  const written: RegisteredRun[] = [];
  const flush = async (group: readonly ShardContent[]) => {
    assert(group.length <= GROUP_RUNS_MAX, `a group has at most ${GROUP_RUNS_MAX} contents`);
    options.signal?.throwIfAborted();
    const outcome = await writeGroup(ports, identity, group, options);
    if (outcome.outcome === "written") {
      written.push(...outcome.runs);
      options.onRegistered?.(outcome.runs);
    }
    return outcome.outcome;
  };
  try {
    let group: ShardContent[] = [];
    let bytes = 0;
    for await (const content of contents) {
      group.push(content);
      bytes += content.bytes;
      const full = group.length === GROUP_RUNS_MAX || bytes >= GROUP_BYTES_MAX;
      if (!full || options.heads !== undefined) continue;
      await flush(group);
      group = [];
      bytes = 0;
    }
    if (group.length > 0 && (await flush(group)) === "head-moved") return { outcome: "head-moved" };
  } catch (error) {
    throw written.length === 0 ? error : halfWritten(identity, written, error);
  }
  return { outcome: "written", runs: written };
}

/** The failure of a write of which some groups are registered: they stand, and its `details.runs` name them. */
export function halfWritten(
  identity: CollectionIdentity,
  runs: readonly RegisteredRun[],
  error: unknown,
): SiltError {
  const kind = isSiltError(error) ? error.kind : "internal";
  const records = runs.reduce((sum, run) => sum + run.records, 0);
  return new SiltError(
    kind,
    `Cannot write all of the call to "${identity.collection}": ${reasonOf(error)}; ` +
      `${records} records in ${runs.length} runs are durable, writing the same again is safe`,
    { cause: error, details: { runs } },
  );
}

async function writeGroup(
  ports: Ports,
  identity: CollectionIdentity,
  group: readonly ShardContent[],
  options: WriteOptions,
): Promise<WriteOutcome> {
  for (let attempt = 1; ; attempt++) {
    await using workbench = await ports.engine.openWorkbench();
    const drafts: RunDraft[] = [];
    for (const part of group) {
      options.signal?.throwIfAborted();
      drafts.push(await publish(ports, workbench, identity, part, options));
    }
    await options.onDrafts?.(drafts);
    const { heads } = options;
    const outcome = await registerRuns(ports, drafts, heads === undefined ? {} : { heads });
    if (outcome.outcome === "registered") return { outcome: "written", runs: outcome.runs };
    if (outcome.outcome === "head-moved") return { outcome: "head-moved" };
    assert(outcome.outcome === "abandoned", "only guarded registrations meet a moved guard");
    // We slept so long that the collector gave the bundle up: again, under a new run id.
    if (attempt < PUBLISH_ATTEMPTS_MAX) continue;
    throw new SiltError(
      "unavailable",
      `Cannot register run "${outcome.runId}": the collector gave it up; try again`,
    );
  }
}

function publish(
  ports: Ports,
  workbench: Workbench,
  identity: CollectionIdentity,
  { shard, content }: ShardContent,
  options: WriteOptions,
): Promise<RunDraft> {
  const ref = shardRefs(identity).find((known) => known.shard === shard);
  assert(ref !== undefined, `shard ${shard} belongs to ${identity.collection}`);
  const owner: SegmentOwner = { ...ref, vectors: identity.vectors };
  const { source = null, retryOf = null } = options;
  return publishDelta(ports, workbench, owner, content, { source, retryOf });
}
