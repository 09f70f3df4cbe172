/**
 * How an actor reads: the real `ShardReader` of core over versions whose segments lie in a cache of its
 * own machine. The cache is addressed by content and outlives the process; each process checks a file
 * before it trusts it, puts a bad one aside and fetches it again.
 */
import {
  compose,
  EMPTY_CONTENT,
  type ObjectRef,
  type Ports,
  type PutRow,
  type SegmentContent,
  type SegmentOwner,
  ShardReader,
  SiltError,
  type SnapshotManifest,
  sha256Of,
  type TouchedRecords,
  type VersionView,
} from "@silt/core";
import { applyRun, type ReferenceModel } from "../../reference-model.ts";
import type { Actor } from "../actor.ts";
import type { Simulation } from "../simulation.ts";

export interface SnapshotModel {
  readonly manifest: SnapshotManifest;
  /** Oldest first. */
  readonly contents: readonly SegmentContent[];
  readonly retain: () => () => void;
}

export type ModelView = VersionView<SnapshotModel>;

/** A reader of one shard, as a process opens it. */
export function openReader(
  sim: Simulation,
  actor: Actor,
  owner: SegmentOwner,
): ShardReader<SnapshotModel> {
  const checked = new Map<string, SegmentContent>();
  const open = async (manifest: SnapshotManifest): Promise<SnapshotModel | undefined> => {
    const contents: SegmentContent[] = [];
    for (const { object } of manifest.segments) {
      const content = checked.get(object.sha256) ?? (await load(sim, actor, object));
      if (content === undefined) return undefined;
      checked.set(object.sha256, content);
      contents.push(content);
    }
    return { manifest, contents, retain: () => () => {} };
  };
  return new ShardReader(actor.ports, owner, { open });
}

async function load(
  sim: Simulation,
  actor: Actor,
  ref: ObjectRef,
): Promise<SegmentContent | undefined> {
  const cache = sim.cacheOf(actor);
  const cached = cache.get(ref.sha256);
  if (cached !== undefined && sha256Of(cached) === ref.sha256) return sim.contentOf(cached);
  if (cached !== undefined) sim.count("cached files put aside");
  const bytes = await fetchObject(actor.ports, ref);
  if (bytes === undefined) return undefined;
  cache.set(ref.sha256, bytes);
  return sim.contentOf(bytes);
}

async function fetchObject(
  { objects }: Pick<Ports, "objects">,
  ref: ObjectRef,
): Promise<Uint8Array | undefined> {
  const found = await objects.read(ref.key);
  if (found.outcome === "absent") return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of found.body) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (sha256Of(bytes) === ref.sha256) return bytes;
  throw new SiltError("corrupt", `Cannot use segment "${ref.key}": it has another hash`);
}

/** The records of a view. */
export function recordsOf({ snapshot, overlay }: ModelView): ReferenceModel {
  const model: ReferenceModel = new Map();
  for (const content of snapshot.contents) applyRun(model, content);
  if (overlay !== undefined) applyRun(model, overlay);
  return model;
}

/** What a view remembers of ids and parents. */
export function touchedIn({ snapshot, overlay }: ModelView): TouchedRecords {
  const layers = [...snapshot.contents, ...(overlay === undefined ? [] : [overlay])];
  const whole = layers.reduce((below, above) => compose(below, above), EMPTY_CONTENT);
  const newest = (numbers: readonly (number | undefined)[]) => {
    const last = Math.max(0, ...numbers.map((number) => number ?? 0));
    return last === 0 ? undefined : last;
  };
  const record = (id: string): PutRow | undefined => {
    const row = whole.rows.get(id);
    return row?.operation === "put" ? row : undefined;
  };
  const replacedAt = (parent: string) => newest(layers.map((layer) => layer.replaced.get(parent)));
  return {
    record,
    replacedAt,
    lastTouched: (id, parent) =>
      newest([
        ...layers.map((layer) => layer.rows.get(id)?.sequence),
        parent === null ? undefined : replacedAt(parent),
      ]),
    recordsOfParent: (parent) =>
      [...whole.rows.values()].filter(
        (row): row is PutRow => row.operation === "put" && row.parent === parent,
      ),
  };
}
