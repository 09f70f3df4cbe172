/** The heavy tasks on SQLite files, as plain functions of plain data, so that a worker can run them. */
import { renameSync } from "node:fs";
import type { DropRule, Logger, Run, SegmentDescriptor, SegmentOwner } from "@silt/core";
import { canonicalJson, lanesToHex } from "@silt/core";
import { auditSegment, type SegmentAudit } from "./audit.ts";
import { readBundle } from "./delta-bundle.ts";
import { hashFile } from "./file-digest.ts";
import { type MergeResult, type MergeSource, mergeSegments, type SequenceRange } from "./merge.ts";
import { secondOpinion } from "./second-opinion.ts";

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
      readonly deep: boolean;
    }
  | {
      readonly task: "audit-segment";
      readonly owner: SegmentOwner;
      readonly descriptor: SegmentDescriptor;
      readonly path: string;
      readonly deep: boolean;
    }
  | { readonly task: "hash"; readonly path: string };

export type DeltaAudit =
  | { readonly outcome: "sound"; readonly audit: SegmentAudit }
  | { readonly outcome: "poison"; readonly reason: string };

export interface SegmentTaskResults {
  readonly merge: MergeResult;
  readonly "audit-delta": DeltaAudit;
  /** What is wrong; empty when the segment is sound. */
  readonly "audit-segment": readonly string[];
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
      return auditDelta(task, logger);
    case "audit-segment":
      return auditDescribed(task.owner, task.descriptor, task.path, task.deep, logger);
    case "hash":
      return hashFile(task.path);
  }
}

/** A bundle is sound when its form, owner, integrity, every row, and all counts and sums agree. */
async function auditDelta(
  { owner, run, tarPath, sqlitePath, deep }: Extract<SegmentTask, { task: "audit-delta" }>,
  logger: Logger,
): Promise<DeltaAudit> {
  const partial = `${sqlitePath}.part`;
  const bundle = await readBundle(tarPath, partial);
  if (bundle.outcome === "poison") return bundle;
  const { manifest } = bundle;
  const { collection, storeId, shard } = owner;
  const isMine =
    manifest.runId === run.runId &&
    manifest.storeId === storeId &&
    manifest.collection === collection &&
    manifest.shard === shard;
  if (!isMine) return { outcome: "poison", reason: "the bundle belongs to another run or store" };
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
  const registered =
    canonicalJson(run.rows) === canonicalJson(manifest.rows) && run.replaced === manifest.replaced;
  if (found !== told || !registered) {
    return {
      outcome: "poison",
      reason: "the bundle's rows are not those that its manifest counts",
    };
  }
  const second = deep ? await secondOpinion(partial, logger) : undefined;
  if (second !== undefined) return { outcome: "poison", reason: second };
  renameSync(partial, sqlitePath);
  return { outcome: "sound", audit };
}

/** A segment against the descriptor that its manifest has of it, from its bytes. */
async function auditDescribed(
  owner: SegmentOwner,
  descriptor: SegmentDescriptor,
  path: string,
  deep: boolean,
  logger: Logger,
): Promise<readonly string[]> {
  const { firstSequence, lastSequence } = descriptor;
  const expect = {
    kind: "segment",
    firstSequence: String(firstSequence),
    lastSequence: String(lastSequence),
    runId: "",
  } as const;
  const audit = auditSegment(path, owner, expect, logger);
  if (audit.problems.length > 0) return audit.problems;
  const problems = differences(audit, descriptor);
  const second = deep ? await secondOpinion(path, logger) : undefined;
  return second === undefined ? problems : [...problems, second];
}

function differences(audit: SegmentAudit, descriptor: SegmentDescriptor): readonly string[] {
  const { rows, replaced, sums } = descriptor;
  const pairs: readonly [string, number | string, number | string][] = [
    ["puts", audit.rows.put, rows.put],
    ["patches", audit.rows.patch, rows.patch],
    ["deletes", audit.rows.delete, rows.delete],
    ["replaced parents", audit.replaced, replaced],
    ["vector digest sum", lanesToHex(audit.sums.v), sums.v],
    ["text digest sum", lanesToHex(audit.sums.t), sums.t],
  ];
  return pairs
    .filter(([, found, told]) => found !== told)
    .map(([what, found, told]) => `${what}: ${found} found, the manifest says ${told}`);
}
