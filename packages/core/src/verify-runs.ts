/** The log of a shard: every run that is kept follows the one before, has its run id and its bundle. */
import type { Exclusion, Pointer, Run, SnapshotManifest } from "./formats.ts";
import { deltaKey, manifestKey, shardPartition } from "./object-keys.ts";
import type { Head, RunIdState, ShardRef } from "./ports.ts";
import { countRows } from "./row.ts";
import { EMPTY_RUNS_HASH, nextRunsHash } from "./run-chain.ts";
import { checkChain } from "./shard-state.ts";
import { isSiltError } from "./silt-error.ts";
import { verifyBundle } from "./verify-bundle.ts";
import type { ShardContext } from "./verify-context.ts";
import { type Findings, unlessLogDamaged } from "./verify-report.ts";

const RUNS_PAGE = 200;
/** A log that is broken from some place on is said to be so, not row by row to its end. */
const UNREADABLE_MAX = 20;

/** What is known of the shard when its runs are read. */
export interface RunsBasis {
  readonly pointer: Pointer | undefined;
  readonly head: Head | undefined;
  readonly manifest: SnapshotManifest | undefined;
  /** False when the manifest is damaged and only seems to say what it says. */
  readonly proven: boolean;
  readonly appliedThrough: number;
}

/** `log: run 12 of lines/<storeId>/0-of-1`. */
export const logObject = (shard: ShardRef, what: string): string =>
  `log: ${what} of ${shardPartition(shard)}`;

const runsText = (from: number, to: number) =>
  from === to ? `run ${from}` : `runs ${from} to ${to}`;

/** How far the chain of runs was followed: the hash up to there, or the two that it may be. */
export interface ChainState {
  readonly sequence: number;
  /** Empty when unknown: then the next run is believed. */
  readonly hashes: readonly string[];
}

const CHAIN_START: ChainState = { sequence: 0, hashes: [EMPTY_RUNS_HASH] };
/** Stands for a HEAD that is not reached: HEAD itself is checked at the end. */
const NO_HEAD: Head = {
  sequence: Number.MAX_SAFE_INTEGER,
  runsHash: "",
  floor: "",
  excluding: false,
  excludeRev: 0,
};

/** Pure: one run further. `gap`: runs that should lie between and don't. */
export function followRun(
  shard: ShardRef,
  state: ChainState,
  run: Run,
): {
  readonly next: ChainState;
  readonly gap?: { readonly from: number; readonly to: number };
  readonly broken?: string;
} {
  const believed: ChainState = { sequence: run.sequence, hashes: [run.runsHash] };
  const from = state.sequence + 1;
  if (run.sequence > from) return { next: believed, gap: { from, to: run.sequence - 1 } };
  const [first, second] = state.hashes.map((runsHash) =>
    chainProblem(shard, { appliedThrough: state.sequence, runsHash }, NO_HEAD, [run]),
  );
  if (state.hashes.length === 0 || first === undefined) return { next: believed };
  if (state.hashes.length === 2 && second === undefined) return { next: believed };
  // Either its hash or its id is damaged: the next run tells which.
  const computed = nextRunsHash(state.hashes[0] as string, run.runId);
  const hashes = computed === run.runsHash ? [computed] : [computed, run.runsHash];
  return { next: { sequence: run.sequence, hashes }, broken: first };
}

function chainProblem(
  shard: ShardRef,
  from: Pick<Pointer, "appliedThrough" | "runsHash">,
  head: Head,
  runs: readonly Run[],
): string | undefined {
  try {
    checkChain(shard, from, head, runs);
    return undefined;
  } catch (error) {
    if (!isSiltError(error, "corrupt")) throw error;
    return error.message;
  }
}

/** Reads the runs from the first one kept up to HEAD, and checks each with its bundle. */
export async function verifyRuns(context: ShardContext, basis: RunsBasis): Promise<void> {
  const { shard, signal, findings } = context;
  const headSequence = basis.head?.sequence ?? Number.MAX_SAFE_INTEGER;
  let state = CHAIN_START;
  let unreadable = 0;
  for await (const read of runPages(context, headSequence)) {
    if ("damaged" in read) {
      const { damaged, message } = read;
      findings.problem(logObject(shard, `run ${damaged}`), "run-damaged", message);
      state = { sequence: damaged, hashes: [] };
      unreadable += 1;
      continue;
    }
    const runs = read.page.filter((run) => run.sequence <= headSequence);
    const states = await readRunIds(context, runs);
    for (const [index, run] of runs.entries()) {
      signal?.throwIfAborted();
      state = followAndReport(context, basis, state, run);
      reportRun(context, basis, run, states?.[index]);
      await verifyBundle(context, run, basis);
    }
    const beyond = read.page.find((run) => run.sequence > headSequence);
    if (beyond !== undefined) await checkBeyondHead(context, beyond);
  }
  reportEnd(context, basis, state, unreadable);
}

type ReadRuns =
  | { readonly page: readonly Run[] }
  | { readonly damaged: number; readonly message: string };

/** Pages of the log up to HEAD. A page that cannot be read is read run by run up to the damaged one. */
async function* runPages(
  { ports, shard, signal }: ShardContext,
  headSequence: number,
): AsyncGenerator<ReadRuns> {
  let after = 0;
  let limit = RUNS_PAGE;
  for (let unreadable = 0; after <= headSequence && unreadable < UNREADABLE_MAX; ) {
    signal?.throwIfAborted();
    let message = "";
    const page = await unlessLogDamaged(
      () => ports.log.readRuns(shard, { after, limit }),
      (error) => {
        message = error.message;
      },
    );
    if (page !== undefined) {
      yield { page };
      if (page.length < limit) return;
      after = page.at(-1)?.sequence ?? after;
    } else if (limit > 1) {
      limit = 1;
    } else {
      unreadable += 1;
      after += 1;
      limit = RUNS_PAGE;
      yield { damaged: after, message };
    }
  }
}

function readRunIds(
  { ports, shard, findings }: ShardContext,
  runs: readonly Run[],
): Promise<readonly RunIdState[] | undefined> {
  return unlessLogDamaged(
    () => ports.log.readRunIds(runs.map(({ runId }) => ({ shard, runId }))),
    (error) => findings.problem(logObject(shard, "run ids"), "log-unreadable", error.message),
  );
}

function followAndReport(
  { shard, findings }: ShardContext,
  { head, pointer }: RunsBasis,
  state: ChainState,
  run: Run,
): ChainState {
  // Below the floor the log may have forgotten runs; what is kept then begins somewhere.
  const forgotten =
    state.sequence === 0 && run.sequence > 1 && head !== undefined && head.floor !== "";
  const from = forgotten ? { sequence: run.sequence - 1, hashes: [] } : state;
  const { next, gap, broken } = followRun(shard, from, run);
  if (gap !== undefined) {
    const what = runsText(gap.from, gap.to);
    findings.problem(
      logObject(shard, what),
      "run-missing",
      `The log has no ${what}, but it has run ${run.sequence}`,
    );
  }
  if (broken !== undefined) {
    findings.problem(logObject(shard, `run ${run.sequence}`), "run-damaged", broken);
  }
  const contradicts =
    pointer !== undefined &&
    broken === undefined &&
    run.sequence === pointer.appliedThrough &&
    run.runsHash !== pointer.runsHash;
  if (contradicts) {
    findings.problem(
      logObject(shard, `run ${run.sequence}`),
      "log-mismatch",
      `Up to run ${run.sequence} the pointer has applied another history than the log's`,
    );
  }
  return next;
}

/** A run beyond the HEAD that was read was registered since, unless HEAD still does not know it. */
async function checkBeyondHead({ ports, shard, findings }: ShardContext, run: Run): Promise<void> {
  const head = await unlessLogDamaged(
    () => ports.log.readHead(shard),
    () => {},
  );
  if (head === undefined || head.sequence >= run.sequence) return;
  findings.problem(
    logObject(shard, "HEAD"),
    "log-mismatch",
    `HEAD is ${head.sequence}, but the log has run ${run.sequence}`,
  );
}

function reportRun(
  { shard, findings }: ShardContext,
  { manifest, proven, appliedThrough }: RunsBasis,
  run: Run,
  id: RunIdState | undefined,
): void {
  findings.count({ runs: 1 });
  const object = logObject(shard, `run ${run.sequence}`);
  if (id !== undefined && (id.state !== "registered" || id.sequence !== run.sequence)) {
    const told = id.state === "registered" ? `as run ${id.sequence}` : id.state;
    const message = `Run ${run.sequence} has the id ${run.runId}, which the log knows ${told}`;
    findings.problem(logObject(shard, `run id ${run.runId}`), "run-id-mismatch", message);
  }
  if (run.delta.key !== deltaKey(shard, run.runId)) {
    findings.problem(
      object,
      "run-damaged",
      `It names the bundle "${run.delta.key}", which is not its own`,
    );
  }
  const covered = manifest?.segments.at(-1)?.lastSequence ?? Number.MAX_SAFE_INTEGER;
  const hasEffect = countRows(run.rows) + run.replaced > 0;
  const leftOut =
    manifest !== undefined && proven && run.sequence > covered && run.sequence <= appliedThrough;
  if (leftOut && hasEffect && exclusionOf(manifest, run.sequence) === undefined) {
    const message = `It says that run ${run.sequence} is applied, but no segment holds it and it is not excluded`;
    findings.problem(
      manifestKey(shard, manifest.version, manifest.commitId),
      "run-not-covered",
      message,
    );
  }
}

/** The exclusion that a version has of a run. */
export function exclusionOf(
  manifest: SnapshotManifest | undefined,
  sequence: number,
): Exclusion | undefined {
  return manifest?.excluded.find(({ from, to }) => from <= sequence && sequence <= to);
}

/** The chain must end at HEAD, with HEAD's hash. */
function reportEnd(
  { shard, findings }: ShardContext,
  { head }: RunsBasis,
  state: ChainState,
  unreadable: number,
): void {
  if (head === undefined) return;
  if (state.sequence < head.sequence) {
    const what = runsText(state.sequence + 1, head.sequence);
    if (unreadable >= UNREADABLE_MAX) {
      const message = `${UNREADABLE_MAX} runs of the log cannot be read; ${what} were not tried`;
      findings.problem(logObject(shard, what), "log-unreadable", message);
      return;
    }
    findings.problem(
      logObject(shard, what),
      "run-missing",
      `HEAD is ${head.sequence}, but the log has no ${what}`,
    );
    return;
  }
  const problems = state.hashes.map((runsHash) =>
    chainProblem(shard, { appliedThrough: state.sequence, runsHash }, head, []),
  );
  const [problem] = problems;
  if (problem !== undefined && !problems.includes(undefined)) {
    findings.problem(logObject(shard, "HEAD"), "log-mismatch", problem);
  }
}

/** Every exclusion of the current version: an open one waits for somebody. */
export function reportExclusions(
  shard: ShardRef,
  excluded: readonly Exclusion[],
  findings: Findings,
): void {
  for (const { from, to, runIds, reason, retriedBy, excludedAt } of excluded) {
    const object = logObject(shard, runsText(from, to));
    const what = `excluded since ${excludedAt}: ${reason}`;
    if (retriedBy !== null) {
      findings.notice(object, "excluded-run", `${what}; it came back as run ${retriedBy}`);
      continue;
    }
    const commands = runIds.map((runId) => `"silt quarantine retry ${runId}"`).join(", ");
    findings.problem(
      object,
      "excluded-run",
      `${runIds.join(", ")} ${what}`,
      `Restore the bundle if it is damaged, then bring the run back: ${commands}.`,
    );
  }
}
