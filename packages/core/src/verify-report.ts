/** What a verification says, and the one list of what can be wrong and what to do about it. */
import { isSiltError, type SiltError, type SiltErrorKind } from "./silt-error.ts";

/** Every kind of damage with its remedy; kinds are stable, scripts rely on them. */
export const REMEDIES = {
  "collection-missing":
    "Restore collection.json from a backup; store id and vectors also stand in the collection's manifests.",
  "collection-damaged":
    "Restore collection.json from a backup; store id and vectors also stand in the collection's manifests.",
  "collection-mismatch":
    "Restore the collection.json that was written when this collection was created.",
  "policy-missing": 'Restore policy.json from a backup, then run "silt verify" again.',
  "policy-damaged": 'Restore policy.json from a backup, then run "silt verify" again.',
  "pointer-missing":
    "Stop all writers and restore latest-pointer.json from a backup of the same moment as the log; delete nothing.",
  "pointer-damaged":
    "Stop all writers and restore latest-pointer.json from a backup of the same moment as the log; delete nothing.",
  "pointer-outdated":
    "An old pointer was put back: restore the newest one, or restore log and objects from the same moment.",
  "pointer-mismatch":
    "Restore pointer and manifest from the same moment; until then trust neither, and delete nothing.",
  "manifest-missing":
    "Restore the manifest from a backup, or an earlier pointer together with a log of that moment.",
  "manifest-damaged":
    "Restore the manifest from a backup: its content must have the hash that the pointer names.",
  "manifest-inconsistent":
    "Keep everything, stop the compactor and report this: a version says things that exclude each other.",
  "chain-broken":
    "Keep everything, stop the compactor and report this: the history of versions contradicts itself.",
  "old-manifest-missing":
    "Restore the manifest from a backup if you need that old version; the current one does not need it.",
  "old-manifest-damaged":
    "Restore the manifest from a backup if you need that old version; the current one does not need it.",
  "segment-missing":
    "Restore the segment from a backup; if there is none, its records can be written again from their sources.",
  "segment-damaged":
    "Restore the segment from a backup; if there is none, its records can be written again from their sources.",
  "segment-unsound":
    "Its bytes are those that were committed, so no backup helps: report this, and write its records again.",
  "old-segment-missing":
    "Restore the segment from a backup if you need that old version; the current one does not need it.",
  "old-segment-damaged":
    "Restore the segment from a backup if you need that old version; the current one does not need it.",
  "log-unreadable":
    'Restore the log from a backup of the same moment as the objects, then run "silt verify" again.',
  "log-mismatch":
    'The log and the objects do not belong together: restore both from the same moment, then run "silt verify".',
  "head-missing":
    'Restore the log from a backup of the same moment as the objects, then run "silt verify" again.',
  "run-missing":
    "Restore the log from a backup; no run is compacted past the gap until then, and none is lost by waiting.",
  "run-damaged":
    "Restore the log from a backup; no run is compacted past this one until then, and none is lost by waiting.",
  "run-id-mismatch":
    "Restore the log from a backup: until then a repeated registration may count this run twice.",
  "run-not-covered":
    "Keep everything, stop the compactor and report this: a version leaves out a run that it says it applied.",
  "bundle-missing":
    "Restore the bundle from a backup: the run waits for it. If it is lost, write its records again from their source.",
  "bundle-damaged":
    "Restore the bundle from a backup before the next compaction, which excludes the run; else write its records again.",
  "applied-bundle-missing":
    "The snapshot holds the run's content, nothing is lost for readers; restore the bundle from a backup to keep the history.",
  "applied-bundle-damaged":
    "The snapshot holds the run's content, nothing is lost for readers; restore the bundle from a backup to keep the history.",
  "excluded-run":
    'Restore its bundle if it is damaged, then bring it back: "silt quarantine retry RUN".',
  "plan-damaged":
    "Delete it: it is the collector's note of what may go, and what it named starts to wait anew.",
  "guard-damaged":
    "Restore the log from a backup; without it the source is read and registered again at its next ingest.",
  "format-unknown": "A later version of Silt wrote it: upgrade Silt, then verify again.",
} as const satisfies Readonly<Record<string, string>>;

export type ProblemKind = keyof typeof REMEDIES;

/** `unproven`: looks wrong, but only against something that is damaged itself. */
export type NoticeKind =
  | "leftover"
  | "excluded-run"
  | "rolled-back"
  | "history-gone"
  | "flip-not-noted"
  | "unproven";

export interface VerifyProblem {
  /** The key of the object, or e.g. `log: run 12 of lines/<storeId>/0-of-1`. */
  readonly object: string;
  readonly kind: string;
  readonly message: string;
  /** What to do about it. */
  readonly remedy: string;
}

export type VerifyNotice = Omit<VerifyProblem, "remedy">;

export interface VerifyCounts {
  readonly objects: number;
  readonly bytes: number;
  readonly segments: number;
  readonly rows: number;
  readonly runs: number;
}

export interface VerifyReport {
  /** True when there is no problem; notices are none. */
  readonly ok: boolean;
  readonly checked: VerifyCounts;
  readonly problems: readonly VerifyProblem[];
  readonly notices: readonly VerifyNotice[];
}

/** A million missing bundles are said once, and counted: the report must fit in memory. */
const LISTED_MAX = 1_000;

/** Collects what one piece of a verification finds. */
export interface Findings {
  problem(object: string, kind: ProblemKind, message: string, remedy?: string): void;
  notice(object: string, kind: NoticeKind, message: string): void;
  count(checked: Partial<VerifyCounts>): void;
  /** Takes over all that another piece found. */
  add(other: Findings): void;
  readonly hasProblems: boolean;
  report(): VerifyReport;
}

export function createFindings(): Findings {
  const problems = createCappedList<VerifyProblem>();
  const notices = createCappedList<VerifyNotice>();
  let checked: VerifyCounts = { objects: 0, bytes: 0, segments: 0, rows: 0, runs: 0 };
  return {
    problem(object, kind, message, remedy = REMEDIES[kind]) {
      problems.push({ object, kind, message, remedy });
    },
    notice(object, kind, message) {
      notices.push({ object, kind, message });
    },
    count(more) {
      checked = addCounts(checked, more);
    },
    add(other) {
      const report = other.report();
      for (const problem of report.problems) problems.push(problem);
      for (const notice of report.notices) notices.push(notice);
      checked = addCounts(checked, report.checked);
    },
    get hasProblems() {
      return problems.size > 0;
    },
    report: () => ({
      ok: problems.size === 0,
      checked,
      problems: problems.all(),
      notices: notices.all(),
    }),
  };
}

function addCounts(a: VerifyCounts, b: Partial<VerifyCounts>): VerifyCounts {
  return {
    objects: a.objects + (b.objects ?? 0),
    bytes: a.bytes + (b.bytes ?? 0),
    segments: a.segments + (b.segments ?? 0),
    rows: a.rows + (b.rows ?? 0),
    runs: a.runs + (b.runs ?? 0),
  };
}

function createCappedList<T extends VerifyNotice>() {
  const listed: T[] = [];
  const byKind = new Map<string, { listed: number; more: number; last: T }>();
  return {
    push(item: T): void {
      const seen = byKind.get(item.kind) ?? { listed: 0, more: 0, last: item };
      byKind.set(item.kind, seen);
      if (seen.listed < LISTED_MAX) {
        seen.listed += 1;
        listed.push(item);
      } else {
        seen.more += 1;
        seen.last = item;
      }
    },
    get size() {
      return listed.length;
    },
    all(): readonly T[] {
      const summaries = [...byKind.values()]
        .filter(({ more }) => more > 0)
        .map(({ more, last }) => ({
          ...last,
          message: `${last.message} (the last of ${more} more of this kind that are not listed)`,
        }));
      return [...listed, ...summaries];
    },
  };
}

/**
 * Reads something; damage goes to `onDamage` and gives undefined. Failures of the environment and
 * bugs are thrown: they say nothing about the store.
 */
export function unlessDamaged<T>(
  read: () => T | Promise<T>,
  onDamage: (error: SiltError) => void,
): Promise<T | undefined> {
  return unlessKind(["corrupt", "invalid"], read, onDamage);
}

/**
 * {@link unlessDamaged} for the log. A bit flipped in the schema of a log's database looks like a bug
 * to its adapter ("no such column"), and must not end the verification.
 */
export function unlessLogDamaged<T>(
  read: () => Promise<T>,
  onDamage: (error: SiltError) => void,
): Promise<T | undefined> {
  return unlessKind(["corrupt", "invalid", "internal"], read, onDamage);
}

async function unlessKind<T>(
  kinds: readonly SiltErrorKind[],
  read: () => T | Promise<T>,
  onDamage: (error: SiltError) => void,
): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!isSiltError(error) || !kinds.includes(error.kind)) throw error;
    onDamage(error);
    return undefined;
  }
}
