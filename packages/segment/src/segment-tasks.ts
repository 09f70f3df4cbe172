/** The heavy tasks on SQLite files, as plain functions of plain data, so that a worker can run them. */
import { renameSync } from "node:fs";
import type { DropRule, Logger, Run, SegmentOwner } from "@silt/core";
import { canonicalJson, lanesToHex } from "@silt/core";
import { auditSegment, type SegmentAudit } from "./audit.ts";
import { readBundle } from "./delta-bundle.ts";
import { hashFile } from "./file-hash.ts";
import { type MergeResult, type MergeSource, mergeSegments, type SequenceRange } from "./merge.ts";

export type SegmentTask =
  | {
      readonly task: "merge";
      readonly owner: SegmentOwner;
      readonly sources: readonly MergeSource[];
      readonly range: SequenceRange;
      readonly rule: DropRule;
      readonly path: string;
    }
  | {
      readonly task: "audit-delta";
      readonly owner: SegmentOwner;
      readonly run: Run;
      readonly tarPath: string;
      readonly sqlitePath: string;
    }
  | { readonly task: "audit-segment"; readonly owner: SegmentOwner; readonly path: string }
  | { readonly task: "hash"; readonly path: string };

export type DeltaAudit =
  | { readonly outcome: "sound"; readonly audit: SegmentAudit }
  | { readonly outcome: "poison"; readonly reason: string };

export interface SegmentTaskResults {
  readonly merge: MergeResult;
  readonly "audit-delta": DeltaAudit;
  readonly "audit-segment": SegmentAudit;
  readonly hash: { readonly bytes: number; readonly sha256: string };
}

/** Runs one task to its end. Blocks the thread for as long as SQLite works. */
export async function runSegmentTask(
  task: SegmentTask,
  logger: Logger,
): Promise<SegmentTaskResults[SegmentTask["task"]]> {
  switch (task.task) {
    case "merge":
      return mergeSegments(task.owner, task.sources, task.range, task.rule, task.path, logger);
    case "audit-delta":
      return auditDelta(task.owner, task.run, task.tarPath, task.sqlitePath, logger);
    case "audit-segment":
      return auditSegment(task.path, task.owner, { kind: "segment" }, logger);
    case "hash":
      return hashFile(task.path);
  }
}

/** A bundle is sound when its form, owner, integrity, every row, and all counts and sums agree. */
async function auditDelta(
  owner: SegmentOwner,
  run: Run,
  tarPath: string,
  sqlitePath: string,
  logger: Logger,
): Promise<DeltaAudit> {
  const partial = `${sqlitePath}.part`;
  const bundle = await readBundle(tarPath, partial);
  if (bundle.outcome === "poison") return bundle;
  const { manifest } = bundle;
  if (manifest.runId !== run.runId || manifest.storeId !== owner.storeId) {
    return { outcome: "poison", reason: "the bundle belongs to another run or store" };
  }
  if (canonicalJson(manifest.vectors) !== canonicalJson(owner.vectors)) {
    return { outcome: "poison", reason: "the bundle's vectors are not the collection's" };
  }
  const audit = auditSegment(
    partial,
    owner,
    { kind: "delta", firstSequence: "0", lastSequence: "0", runId: run.runId },
    logger,
  );
  if (audit.problems.length > 0) return { outcome: "poison", reason: audit.problems.join("; ") };
  const found = canonicalJson({
    rows: audit.rows,
    replaced: audit.replaced,
    sums: { v: lanesToHex(audit.sums.v), t: lanesToHex(audit.sums.t) },
  });
  const told = canonicalJson({
    rows: manifest.rows,
    replaced: manifest.replaced,
    sums: manifest.sums,
  });
  if (found !== told || canonicalJson(run.rows) !== canonicalJson(manifest.rows)) {
    return {
      outcome: "poison",
      reason: "the bundle's rows are not those that its manifest counts",
    };
  }
  renameSync(partial, sqlitePath);
  return { outcome: "sound", audit };
}
