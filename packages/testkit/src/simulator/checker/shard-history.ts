/** What the checker knows of one shard: every run that was registered, and every version that was flipped. */
import {
  type Exclusion,
  type Head,
  nextRunsHash,
  type Pointer,
  type Run,
  type SegmentContent,
  type ShardRef,
  type SnapshotManifest,
  stampSequence,
} from "@silt/core";
import { applyRun, type LiveRecord, type ReferenceModel } from "../../reference-model.ts";
import { demand } from "../violation.ts";

export interface KnownRun {
  readonly run: Run;
  /** What its writer meant, not what lies in the store. */
  readonly content: SegmentContent;
}

export interface KnownVersion {
  readonly pointer: Pointer;
  readonly manifest: SnapshotManifest;
  /** The records that it must hold. */
  readonly model: ReferenceModel;
}

export const isExcluded = (excluded: readonly Exclusion[], sequence: number): boolean =>
  excluded.some(({ from, to }) => from <= sequence && sequence <= to);

export class ShardHistory {
  readonly ref: ShardRef;
  readonly runs: KnownRun[] = [];
  readonly versions: KnownVersion[] = [];
  readonly byCommit = new Map<string, KnownVersion>();
  head: Head;
  /** The commit that announced an exclusion and has not resolved it. */
  announced: string | null = null;
  leasedEpoch = 0;
  /** The last run that a writer was told is durable. */
  acknowledgedThrough = 0;
  /** Versions that somebody asked to be rolled back to. */
  readonly rollbackTargets = new Set<number>();
  readonly #sequences = new Map<string, number>();

  constructor(ref: ShardRef, head: Head) {
    this.ref = ref;
    this.head = head;
  }

  get current(): KnownVersion {
    return this.versions.at(-1) as KnownVersion;
  }

  get pending(): readonly KnownRun[] {
    return this.runs.slice(this.current.pointer.appliedThrough);
  }

  /** The next run of the log: no gap, no second number for a run id. */
  append(run: Run, content: SegmentContent): void {
    const sequence = this.runs.length + 1;
    demand(run.sequence === sequence, "I2", () => `run ${run.sequence} follows ${sequence - 1}`);
    const before = this.runs.at(-1)?.run.runsHash ?? this.head.runsHash;
    demand(run.runsHash === nextRunsHash(before, run.runId), "I2", "the log's hash chain breaks");
    this.runs.push({ run, content: stampSequence(content, sequence) });
    this.#sequences.set(run.runId, sequence);
  }

  sequenceOf(runId: string): number | undefined {
    return this.#sequences.get(runId);
  }

  addVersion(version: KnownVersion): void {
    this.versions.push(version);
    this.byCommit.set(version.pointer.commitId, version);
  }

  /** The records of runs up to `through` outside the exclusions, from a version's on if that is the same history. */
  modelAt(excluded: readonly Exclusion[], through: number, from?: KnownVersion): ReferenceModel {
    const reusable =
      from !== undefined &&
      from.pointer.appliedThrough <= through &&
      sameExclusions(from.manifest.excluded, excluded, from.pointer.appliedThrough);
    const model: ReferenceModel = reusable ? new Map(from.model) : new Map();
    for (let at = reusable ? from.pointer.appliedThrough : 0; at < through; at++) {
      const known = this.runs[at];
      if (known !== undefined && !isExcluded(excluded, at + 1)) applyRun(model, known.content);
    }
    return model;
  }
}

/** Both leave out the same runs up to `through`. */
function sameExclusions(
  a: readonly Exclusion[],
  b: readonly Exclusion[],
  through: number,
): boolean {
  if (a === b) return true;
  for (let sequence = 1; sequence <= through; sequence++) {
    if (isExcluded(a, sequence) !== isExcluded(b, sequence)) return false;
  }
  return true;
}

/** The first difference of two sets of records, in words; undefined when they are the same. */
export function differenceOf(seen: ReferenceModel, meant: ReferenceModel): string | undefined {
  for (const [id, record] of meant) {
    const found = seen.get(id);
    if (found === undefined) return `record ${id} is lost (run ${record.sequence} wrote it)`;
    const field = differentField(found, record);
    if (field !== undefined)
      return `record ${id} has another ${field} than run ${record.sequence} gave it`;
  }
  for (const [id, record] of seen) {
    if (!meant.has(id)) return `record ${id} of run ${record.sequence} must be gone`;
  }
  return undefined;
}

function differentField(a: LiveRecord, b: LiveRecord): keyof LiveRecord | undefined {
  if (a.sequence !== b.sequence) return "sequence";
  if (a.parent !== b.parent) return "parent";
  if (a.embedding !== b.embedding) return "embedding";
  if (a.document !== b.document) return "document";
  const keys = Object.keys(a.metadata);
  const same =
    keys.length === Object.keys(b.metadata).length &&
    keys.every((key) => a.metadata[key] === b.metadata[key]);
  return same ? undefined : "metadata";
}
