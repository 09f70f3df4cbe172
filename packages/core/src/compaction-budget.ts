/** What a compaction will need, judged by its plan before any work (I8). Pure. */
import type { CompactionPlan } from "./plan-compaction.ts";
import { countRows } from "./row.ts";
import { isSiltError, SiltError } from "./silt-error.ts";

/** What a compaction may use beside the free disk; what is left out is not limited. */
export interface CompactionBudget {
  readonly diskBytes?: number | undefined;
  readonly memoryBytes?: number | undefined;
  readonly timeMs?: number | undefined;
}

export type CompactionNeeds = Readonly<Record<keyof CompactionBudget, number>>;

/** The first of its needs that a compaction exceeds. */
export interface BudgetExcess {
  readonly resource: "disk" | "memory" | "time";
  /** Bytes, or milliseconds. */
  readonly needed: number;
  readonly available: number;
  /** Runs that were to be applied: with fewer of them it may fit. */
  readonly runs: number;
  /** It may fit without what can wait. */
  readonly deferrable: boolean;
}

/** A merge needs its inputs, its output and room for a rewrite at once. */
const DISK_FACTOR = 3;
const DISK_RESERVE_BYTES = 16 * 1024 * 1024;
/** Files are streamed, rows audited one at a time: what grows is a description of each input. */
const MEMORY_BASE_BYTES = 192 * 1024 * 1024;
const MEMORY_INPUT_BYTES = 64 * 1024;
/** Every byte is fetched, written and read back: less than a function of two cores gets from its network. */
const PASSES = 3;
const BYTES_PER_MS = 40_000;
/** A third of what the slowest merges (random updates) were measured with. */
const ROWS_PER_MS = 18;
/** Of one input on the way from a slow store; small ones are read ahead, and take less. */
const INPUT_MS = 80;
const BASE_MS = 2_000;

/** An upper estimate: disk is exact in its terms, memory and time are for a machine with little of both. */
export function estimateNeeds(plan: CompactionPlan): CompactionNeeds {
  const inputs = [...plan.runs, ...plan.merged];
  const rows = inputs.reduce((sum, input) => sum + countRows(input.rows), 0);
  return {
    diskBytes: plan.bytes * DISK_FACTOR + DISK_RESERVE_BYTES,
    memoryBytes: MEMORY_BASE_BYTES + inputs.length * MEMORY_INPUT_BYTES,
    timeMs: Math.ceil(
      BASE_MS +
        inputs.length * INPUT_MS +
        (plan.bytes * PASSES) / BYTES_PER_MS +
        rows / ROWS_PER_MS,
    ),
  };
}

/** What does not fit, or undefined. */
export function findExcess(
  plan: CompactionPlan,
  budget: CompactionBudget,
): BudgetExcess | undefined {
  const needs = estimateNeeds(plan);
  const { deferrable } = plan;
  const runs = plan.runs.length;
  for (const resource of ["disk", "memory", "time"] as const) {
    const key = resource === "time" ? "timeMs" : (`${resource}Bytes` as const);
    const available = budget[key];
    if (available === undefined || needs[key] <= available) continue;
    return { resource, needed: needs[key], available, runs, deferrable };
  }
  return undefined;
}

/** `unavailable`, with the numbers in its details. */
export function excessError(shard: string, excess: BudgetExcess): SiltError {
  const { resource, needed, available } = excess;
  const state = {
    disk: `${available} bytes are free for temporary files, ${needed} are needed; free some space and try again`,
    memory: `it may use ${available} bytes of memory, ${needed} are needed; give it more, or compact from another machine`,
    time: `${available} ms are left, ${needed} are needed; compact from a machine without a limit`,
  }[resource];
  return new SiltError("unavailable", `Cannot compact "${shard}": ${state}`, {
    details: { excess },
  });
}

/** The excess that a compaction was given up for, before any work. */
export function excessOf(error: unknown): BudgetExcess | undefined {
  if (!isSiltError(error, "unavailable")) return undefined;
  return error.details?.excess as BudgetExcess | undefined;
}
