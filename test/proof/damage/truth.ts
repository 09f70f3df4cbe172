/** What readers must answer: from what was written, by the reference model, which shares no code with them. */
import type { PutRow } from "@silt/core";
import { liveRecords, modelOf, type ReferenceModel } from "@silt/testkit";
import type { NearestAnswer, RecordsAnswer } from "../../../packages/reader/src/index.ts";
import type { DamagedCollection } from "./damage-world.ts";

export const QUERY = Float32Array.of(3, 1, 2, 5);
export const NEAREST = 5;
const DISTANCE_ERROR_MAX = 1e-5;

/** What an answer claims to be, and what it holds. */
export type SeenAnswer = Pick<RecordsAnswer, "shards"> & {
  readonly records?: RecordsAnswer["records"];
  readonly results?: NearestAnswer["results"];
};

export interface TruthOptions {
  /** Current version; a compaction made later ones. */
  readonly version: number;
  readonly appliedThrough: number;
  /** Runs that a compaction has left out since, with reason. */
  readonly alsoExcluded: readonly number[];
  readonly fresh: boolean;
}

/** Why an answer is wrong; undefined when it is right, and says truly what it lacks. */
export function wrongAnswer(
  truth: DamagedCollection,
  { version, appliedThrough, alsoExcluded, fresh }: TruthOptions,
  answer: SeenAnswer,
): string | undefined {
  const [seen] = answer.shards;
  if (seen === undefined) return "it says nothing of its shard";
  const head = truth.contents.length;
  const through = head - seen.behind;
  if (seen.version !== version) return `version ${seen.version} instead of ${version}`;
  if (seen.appliedThrough !== appliedThrough) {
    return `applied through ${seen.appliedThrough} instead of ${appliedThrough}`;
  }
  if (!fresh && through !== appliedThrough) return `behind ${seen.behind} without a fresh read`;
  if (fresh && through !== head && seen.blockedBy?.sequence !== through + 1) {
    return `behind ${seen.behind}, but blocked by ${seen.blockedBy?.sequence}`;
  }
  const model = modelAt(truth, through, alsoExcluded);
  return wrongRecords(model, answer.records) ?? wrongNearest(model, answer.results);
}

const models = new WeakMap<DamagedCollection, Map<string, ReferenceModel>>();

function modelAt(
  truth: DamagedCollection,
  through: number,
  alsoExcluded: readonly number[],
): ReferenceModel {
  const known = models.get(truth) ?? new Map<string, ReferenceModel>();
  models.set(truth, known);
  const name = `${through} ${alsoExcluded}`;
  const found = known.get(name);
  if (found !== undefined) return found;
  const left = new Set([...truth.excluded, ...alsoExcluded]);
  const model = modelOf(truth.contents.filter((_, at) => at < through && !left.has(at + 1)));
  known.set(name, model);
  return model;
}

function wrongRecords(
  model: ReferenceModel,
  records: readonly PutRow[] | undefined,
): string | undefined {
  if (records === undefined) return undefined;
  const rows = new Map(records.map((record) => [record.id, record]));
  const live = liveRecords({ rows, replaced: new Map() });
  if (textOf(live) === textOf(model)) return undefined;
  return `${records.length} records that are not the ${model.size} that were written`;
}

/** Equal models are equal texts; metadata has no order. */
function textOf(model: ReferenceModel): string {
  const entries = [...model].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(
    entries.map(([id, { metadata, ...rest }]) => [id, rest, Object.entries(metadata).sort()]),
  );
}

function wrongNearest(
  model: ReferenceModel,
  results: NearestAnswer["results"] | undefined,
): string | undefined {
  if (results === undefined) return undefined;
  const ranked = [...model]
    .map(([id, { embedding }]) => ({ id, distance: cosineDistance(embedding) }))
    .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
    .slice(0, NEAREST);
  const isRight =
    results.length === ranked.length &&
    results.every(({ record, distance }, at) => {
      const expected = ranked[at] as (typeof ranked)[number];
      const close = Math.abs(distance - expected.distance) < DISTANCE_ERROR_MAX;
      return record.id === expected.id && close;
    });
  return isRight ? undefined : `nearest ${results.map(({ record }) => record.id)}`;
}

function cosineDistance(hex: string): number {
  const bytes = Buffer.from(hex, "hex");
  const [dot, own, asked] = QUERY.reduce(
    ([dot, own, asked], component, at) => {
      const value = bytes.readFloatLE(at * 4);
      return [dot + value * component, own + value * value, asked + component * component];
    },
    [0, 0, 0] as [number, number, number],
  );
  return 1 - dot / Math.sqrt(own * asked);
}
