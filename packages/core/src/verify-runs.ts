/** The log of a shard: every run that is kept follows the one before, has its run id and its bundle. */
import type { Pointer, Run, SnapshotManifest } from "./formats.ts";
import { deltaKey, manifestKey } from "./object-keys.ts";
import type { Head, RunIdState } from "./ports.ts";
import { countRows } from "./row.ts";
import { verifyBundle } from "./verify-bundle.ts";
import { logObject, runsText, type ShardContext } from "./verify-context.ts";
import { exclusionOf, type QuarantinedBundles } from "./verify-exclusions.ts";
import { unlessLogDamaged } from "./verify-report.ts";
import {
  CHAIN_START,
  type ChainState,
  chainProblem,
  followRun,
  reached,
} from "./verify-run-chain.ts";

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

/** So many are kept until the exclusions are told; what is beyond is only not told. */
const QUARANTINED_MAX = 1_000;

/** Reads the runs from the first one kept up to HEAD, and checks each with its bundle. */
export async function verifyRuns(
  context: ShardContext,
  basis: RunsBasis,
): Promise<QuarantinedBundles> {
  const { shard, signal, findings } = context;
  const headSequence = basis.head?.sequence ?? Number.MAX_SAFE_INTEGER;
  let state = CHAIN_START;
  let unreadable = 0;
  const quarantined = new Map<number, string>();
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
      const unfit = await verifyBundle(context, run, basis);
      if (unfit !== undefined && quarantined.size < QUARANTINED_MAX) {
        quarantined.set(run.sequence, unfit);
      }
    }
    const beyond = read.page.find((run) => run.sequence > headSequence);
    if (beyond !== undefined) await checkBeyondHead(context, beyond);
  }
  reportEnd(context, basis, reached(state, basis, basis.head?.sequence ?? 0), unreadable);
  return quarantined;
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
  basis: RunsBasis,
  state: ChainState,
  run: Run,
): ChainState {
  const { pointer } = basis;
  const from = reached(state, basis, run.sequence - 1);
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
