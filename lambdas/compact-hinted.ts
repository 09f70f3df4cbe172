/** One hinted shard: pass after pass until nothing is pending, within the time, memory and disk of a function. */
import {
  type BudgetExcess,
  type CompactReport,
  compactShard,
  excessOf,
  type Hint,
  isSiltError,
  openCollection,
  type Policy,
  type Ports,
  reasonOf,
  type SiltErrorKind,
  shardRefs,
} from "@silt/core";
import type { Deadline } from "./deadline.ts";

export interface CompactLimits {
  readonly holder: string;
  readonly deadline: Pick<Deadline, "signal" | "wholeMs" | "remainingMs">;
  readonly memoryBytes: number | undefined;
  readonly diskBytes: number | undefined;
}

export interface CompactedShard {
  readonly outcome:
    | "flipped"
    | "nothing-to-do"
    /** Someone else works, or was faster: whoever holds the lease hints again. */
    | "busy"
    | "lost"
    /** The collection was deleted, or made anew. */
    | "gone"
    /** Work is left, and what was not flipped has changed nothing. */
    | "out-of-time"
    /** Not even the oldest run alone fits, or what is due without a run; nothing was begun. */
    | "too-large"
    | "failed";
  readonly flips: number;
  /** False when time ran out before anything was tried. */
  readonly tried: boolean;
  readonly version: number;
  readonly behind: number;
  readonly excluded: CompactReport["excluded"];
  /** When it is too large, or a part of it was, which was put off. */
  readonly excess?: BudgetExcess;
  /** When it failed. */
  readonly error?: { readonly kind: SiltErrorKind; readonly message: string };
}

/** Writers that are faster than we are must not keep other shards waiting for ever. */
const PASSES_MAX = 100;
const NOTHING: CompactedShard = {
  outcome: "nothing-to-do",
  flips: 0,
  tried: false,
  version: 0,
  behind: 0,
  excluded: [],
};

/** Never throws: a failure is an outcome, so that it does not stop other shards. */
export async function compactHinted(
  ports: Ports,
  hint: Hint,
  limits: CompactLimits,
): Promise<CompactedShard> {
  try {
    const opened = await openCollection(ports, hint.collection);
    const isThere =
      opened?.identity.storeId === hint.storeId &&
      shardRefs(opened.identity).some(({ shard }) => shard === hint.shard);
    if (opened === undefined || !isThere) return { ...NOTHING, outcome: "gone" };
    return await passAfterPass(ports, opened, hint, limits);
  } catch (error) {
    return failed(NOTHING, error);
  }
}

async function passAfterPass(
  ports: Ports,
  { identity, policy: given }: NonNullable<Awaited<ReturnType<typeof openCollection>>>,
  shard: Hint,
  { holder, deadline, memoryBytes, diskBytes }: CompactLimits,
): Promise<CompactedShard> {
  const { signal } = deadline;
  let policy = given;
  let done = NOTHING;
  /** What was put off, so that runs which fit need not wait for it. */
  let putOff: BudgetExcess | undefined;
  const ended = (): CompactedShard => {
    if (putOff === undefined) return done;
    const outcome = done.outcome === "nothing-to-do" ? "too-large" : done.outcome;
    return { ...done, outcome, excess: putOff };
  };
  for (let pass = 1; pass <= PASSES_MAX; pass++) {
    if (signal.aborted) return { ...done, outcome: "out-of-time" };
    const budget = { diskBytes, memoryBytes, timeMs: deadline.remainingMs() };
    try {
      const options = { holder, signal, budget, defer: putOff !== undefined };
      const report = await compactShard(ports, identity, policy, shard, options);
      done = add(done, report);
      if (report.outcome !== "flipped" || report.behind === 0) return ended();
    } catch (error) {
      const excess = excessOf(error);
      if (excess === undefined) {
        if (signal.aborted) return { ...done, outcome: "out-of-time", tried: true };
        return failed(done, error);
      }
      if (excess.deferrable && !mayFitLater(excess, deadline)) putOff = excess;
      // Fewer runs at once need less of everything.
      else if (excess.runs > 1) policy = withRunsMax(policy, Math.floor(excess.runs / 2));
      else if (mayFitLater(excess, deadline)) return { ...done, outcome: "out-of-time" };
      else return { ...done, outcome: "too-large", excess };
    }
  }
  return { ...done, outcome: "out-of-time" };
}

/** Another invocation begins with the whole time. */
const mayFitLater = ({ resource, needed }: BudgetExcess, { wholeMs }: Pick<Deadline, "wholeMs">) =>
  resource === "time" && needed <= wholeMs;

const withRunsMax = (policy: Policy, runsMax: number): Policy => ({
  ...policy,
  compaction: { ...policy.compaction, runsMax },
});

function add(done: CompactedShard, report: CompactReport): CompactedShard {
  const { outcome, version, behind } = report;
  const flips = done.flips + (outcome === "flipped" ? 1 : 0);
  return {
    ...done,
    // What was flipped stays flipped, whatever a later pass met.
    outcome: flips > 0 ? "flipped" : outcome,
    flips,
    tried: true,
    version: Math.max(done.version, version),
    behind,
    excluded: [...done.excluded, ...report.excluded],
  };
}

function failed(done: CompactedShard, error: unknown): CompactedShard {
  const kind = isSiltError(error) ? error.kind : "internal";
  const isLost = kind === "fenced" || kind === "conflict";
  if (isLost) return { ...done, outcome: done.flips > 0 ? "flipped" : "lost", tried: true };
  return { ...done, outcome: "failed", tried: true, error: { kind, message: reasonOf(error) } };
}
