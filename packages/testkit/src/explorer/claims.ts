/** Whether what an actor says at its end is true of the world at that moment. */
import {
  type CompactReport,
  isSiltError,
  parsePointer,
  type RollbackReport,
  type SiltErrorKind,
  type VersionRef,
  type WriteOutcome,
} from "@silt/core";
import { demand } from "../simulator/violation.ts";
import type { Checker } from "./checker.ts";
import type { End, LocalState, Role } from "./local-states.ts";
import { objectIn, type StoredBytes } from "./object-calls.ts";
import type { Vocabulary, World } from "./world.ts";

/** How each role may fail where nothing is damaged; `corrupt` would be a false alarm, `internal` a bug. */
const FAILURES: Readonly<Record<Role, readonly SiltErrorKind[]>> = {
  writer: ["unavailable"],
  deleter: ["unavailable", "conflict"],
  compactor: ["unavailable", "fenced", "conflict"],
  rollback: ["unavailable", "fenced", "conflict", "invalid"],
  collector: ["unavailable", "fenced", "conflict"],
  pin: ["unavailable", "conflict", "invalid"],
};

const COMMITS = new WeakMap<StoredBytes, string>();

/** Commit ids of the pointers that an actor has tried to put. */
function commitsOf(vocabulary: Vocabulary, state: LocalState): ReadonlySet<string> {
  const commits = new Set<string>();
  for (let at: LocalState | undefined = state; at !== undefined; at = at.parent) {
    const { call } = at;
    if (call?.detail.kind !== "put" || call.touches[0]?.what !== "pointer") continue;
    const stored = vocabulary.valueOf(call.detail.value) as StoredBytes;
    const known = COMMITS.get(stored) ?? parsePointer(stored.bytes, "pointer").commitId;
    COMMITS.set(stored, known);
    commits.add(known);
  }
  return commits;
}

export interface Claimant {
  readonly name: string;
  readonly role: Role;
  readonly state: LocalState;
  readonly end: End;
  /** The version that it asks for. */
  readonly target: number | undefined;
}

/** Throws a violation unless the end of an actor is one that the world bears out. */
export function checkEnd(
  checker: Checker,
  vocabulary: Vocabulary,
  world: World,
  claimant: Claimant,
): void {
  const { name, role, state, end } = claimant;
  const flips = role === "compactor" || role === "rollback";
  const commits = flips ? commitsOf(vocabulary, state) : new Set();
  const isCommitted = checker.chainIn(world).some(({ manifest }) => commits.has(manifest.commitId));
  if (end.outcome === "threw") {
    const { error } = end;
    const kind = isSiltError(error) ? error.kind : undefined;
    const text = error instanceof Error ? error.message : String(error);
    demand(kind !== undefined && FAILURES[role].includes(kind), "ERR", `${name} fails: ${text}`);
    const isSure = kind === "fenced" || kind === "conflict";
    demand(!isSure || !isCommitted, "ERR", `${name} has committed, but fails: ${text}`);
    if (kind === "invalid") checkGone(checker, world, claimant, text);
    return;
  }
  if (role === "writer" || role === "deleter") checkWritten(checker, world, name, end.value);
  if (role === "compactor" || role === "rollback") {
    const report = end.value as CompactReport | RollbackReport;
    const { outcome } = report;
    const claims = outcome === "flipped" || outcome === "rolled-back";
    demand(!claims || isCommitted, "I4", `${name} says ${outcome}, but it never was`);
    demand(
      outcome !== "lost" || !isCommitted,
      "I4",
      `${name} says it lost, but version ${"version" in report ? report.version : ""} is its own or stands on it`,
    );
    if (outcome === "rolled-back") checkRolledBack(checker, world, report as RollbackReport);
  }
  if (role === "pin") checkPinned(checker, vocabulary, world, end.value as VersionRef);
}

/** Only a version that was given up may be refused. */
function checkGone(checker: Checker, world: World, { name, target }: Claimant, text: string): void {
  const known = checker.chainIn(world).find(({ manifest }) => manifest.version === target);
  const item = known && checker.items.version(world, checker.shard, known.manifest);
  demand(
    item?.retired === true,
    "I6",
    `nobody gave version ${target} up, but ${name} fails: ${text}`,
  );
}

function checkWritten(checker: Checker, world: World, name: string, value: unknown): void {
  const runs = Array.isArray(value) ? value : (value as WriteOutcome & { runs: [] }).runs;
  for (const { sequence, runId } of runs) {
    const run = checker.items.run(world, checker.shard, sequence);
    demand(
      run?.runId === runId,
      "I2",
      `${name} acknowledges run ${sequence}, which is not its own`,
    );
  }
}

function checkRolledBack(checker: Checker, world: World, report: RollbackReport): void {
  if (report.outcome !== "rolled-back") return;
  const { excluded } = checker.chainIn(world).at(-1)?.manifest ?? { excluded: [] };
  for (const { sequence } of report.undone) {
    const isOut = excluded.some(({ from, to }) => from <= sequence && sequence <= to);
    demand(isOut, "I2", `run ${sequence} was rolled back, but is not excluded`);
  }
}

function checkPinned(
  checker: Checker,
  vocabulary: Vocabulary,
  world: World,
  { version, commitId }: VersionRef,
): void {
  const item = checker.items.version(world, checker.shard, { version, commitId });
  demand(
    item?.retired === false && item.pins.length > 0,
    "I6",
    `version ${version} is said to be pinned, but it is not held`,
  );
  const known = checker.chainIn(world).find(({ manifest }) => manifest.commitId === commitId);
  for (const { object } of known?.manifest.segments ?? []) {
    const isThere = objectIn(vocabulary, world, object.key) !== undefined;
    demand(isThere, "I6", `version ${version} is pinned, but ${object.key} is gone`);
  }
}
