import type { Guard } from "@silt/core";

/** What a source as it is now asks for, given what its guard remembers. */
export type SourceJudgement =
  | { readonly verdict: "unchanged" }
  /** Tried before with the same result to be expected. */
  | { readonly verdict: "failed-before"; readonly reason: string }
  | { readonly verdict: "extract"; readonly why: "new" | "changed" }
  /** It is gone, and its records must go. */
  | { readonly verdict: "delete" }
  /** Something would have to be done, but a newer generation of the pipeline has taken it. */
  | { readonly verdict: "outdated" }
  /** It is gone, and nothing is known of it. */
  | { readonly verdict: "nothing" };

export interface SourceFacts {
  readonly guard: Guard | undefined;
  /** Null when the source is gone. */
  readonly digest: string | null;
  readonly pipelineId: string;
  /** None of the guard's runs was left out, nor its collection made anew. */
  readonly runsStand: boolean;
  readonly retryFailed: boolean;
}

/**
 * Pure: an upload event carries only a name; what is to be done follows from guard and source. An
 * older generation of the pipeline changes nothing of a newer one, and takes no change for done.
 */
export function judgeSource(facts: SourceFacts): SourceJudgement {
  const { guard, pipelineId } = facts;
  const isOlder = guard !== undefined && generationOf(guard.pipelineId) > generationOf(pipelineId);
  if (!isOlder) return judge(facts);
  const newer = judge({ ...facts, pipelineId: guard.pipelineId });
  const isToDo = newer.verdict === "extract" || newer.verdict === "delete";
  return isToDo ? { verdict: "outdated" } : newer;
}

function judge({
  guard,
  digest,
  pipelineId,
  runsStand,
  retryFailed,
}: SourceFacts): SourceJudgement {
  if (digest === null) {
    const known = guard !== undefined && (guard.sourceDigest !== null || guard.failure !== null);
    if (known || (guard !== undefined && !runsStand)) return { verdict: "delete" };
    return { verdict: "nothing" };
  }
  if (guard === undefined) return { verdict: "extract", why: "new" };
  const { failure, sourceDigest } = guard;
  if (failure?.sourceDigest === digest && guard.pipelineId === pipelineId && !retryFailed) {
    return { verdict: "failed-before", reason: failure.reason };
  }
  const isSame = sourceDigest === digest && guard.pipelineId === pipelineId && failure === null;
  if (isSame && runsStand) return { verdict: "unchanged" };
  return { verdict: "extract", why: sourceDigest === null ? "new" : "changed" };
}

/** The number of a pipeline id `silt-image-<number>;…`; 0 for what is none. */
function generationOf(pipelineId: string): number {
  return Number(/^silt-image-(\d+)/.exec(pipelineId)?.[1] ?? 0);
}
