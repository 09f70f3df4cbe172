/**
 * Writes that were decided by what was there: they must be right at the very moment at which they are
 * registered, whatever was registered, excluded or rolled back while they were decided.
 */
import { isOpenExclusion, type SegmentContent } from "@silt/core";
import { applyRun, type LiveRecord, type ReferenceModel } from "../../reference-model.ts";
import { demand } from "../violation.ts";
import { isExcluded, type ShardHistory } from "./shard-history.ts";

export type Matches = (record: Pick<LiveRecord, "metadata">) => boolean;

/** What a fresh read would answer now. */
function modelNow(history: ShardHistory): ReferenceModel {
  const { current, runs } = history;
  return history.modelAt(current.manifest.excluded, runs.length, current);
}

/** A delete by filter deletes all that matches, and nothing else. */
export function checkDelete(
  history: ShardHistory,
  content: SegmentContent,
  matches: Matches,
): void {
  const meant = [...modelNow(history)].filter(([, record]) => matches(record)).map(([id]) => id);
  const missed = meant.find((id) => !content.rows.has(id));
  demand(missed === undefined, "I2", () => `a delete by filter leaves ${missed}, which matches`);
  const extra = [...content.rows.keys()].find((id) => !meant.includes(id));
  demand(
    extra === undefined,
    "I2",
    () => `a delete by filter takes ${extra}, which does not match`,
  );
}

/** A retry brings back what was not written since, and undoes nothing that is newer. */
export function checkRetry(history: ShardHistory, sequence: number, content: SegmentContent): void {
  const { excluded } = history.current.manifest;
  const { appliedThrough } = history.current.pointer;
  const exclusion = excluded.find(({ from, to }) => from <= sequence && sequence <= to);
  demand(
    exclusion !== undefined && isOpenExclusion(exclusion),
    "I2",
    () => `run ${sequence} is brought back, but it may not come back`,
  );
  const doubled = history.runs.slice(appliedThrough).find(({ run }) => run.retryOf === sequence);
  demand(doubled === undefined, "I2", () => `run ${sequence} is brought back twice`);
  checkNothingNewerUndone(history, sequence, content);
  checkAllComesBack(history, sequence, content);
}

/** Runs after the excluded one that count. */
const since = (history: ShardHistory, sequence: number) =>
  history.runs.filter(
    ({ run }) =>
      run.sequence > sequence && !isExcluded(history.current.manifest.excluded, run.sequence),
  );

function checkNothingNewerUndone(
  history: ShardHistory,
  sequence: number,
  content: SegmentContent,
): void {
  const before = modelNow(history);
  const after: ReferenceModel = new Map(before);
  applyRun(after, content);
  for (const [id, record] of before) {
    const changed = record.sequence > sequence && after.get(id) !== record;
    demand(
      !changed,
      "I2",
      () => `the retry of run ${sequence} undoes what run ${record.sequence} wrote to ${id}`,
    );
  }
  for (const { run, content: newer } of since(history, sequence)) {
    for (const row of content.rows.values()) {
      const parent = row.operation === "put" ? row.parent : null;
      const deletes = newer.rows.get(row.id)?.operation === "delete";
      const replaces = parent !== null && newer.replaced.has(parent);
      const revives = row.operation === "put" && (deletes || replaces);
      demand(
        !revives,
        "I2",
        () => `the retry of run ${sequence} revives ${row.id}, which run ${run.sequence} deleted`,
      );
    }
  }
}

function checkAllComesBack(history: ShardHistory, sequence: number, content: SegmentContent): void {
  const original = history.runs[sequence - 1]?.content;
  const newer = since(history, sequence);
  const before = history.modelAt(history.current.manifest.excluded, sequence - 1);
  for (const row of original?.rows.values() ?? []) {
    if (row.operation !== "put" || content.rows.has(row.id)) continue;
    // A later replacement of the parent that it had without the excluded run deleted it as well.
    const parents = [row.parent, before.get(row.id)?.parent ?? null];
    const touched = newer.some(
      ({ content: other }) =>
        other.rows.has(row.id) ||
        parents.some((parent) => parent !== null && other.replaced.has(parent)),
    );
    demand(
      touched,
      "I2",
      () => `the retry of run ${sequence} leaves out ${row.id}, which nothing has touched since`,
    );
  }
}
