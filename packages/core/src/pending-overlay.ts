/** The pending runs of a shard, folded over its version: what makes a read fresh. */
import { createDeltaBuffer, type DeltaBuffer } from "./delta-buffer.ts";
import type { Run } from "./formats.ts";
import type { Ports, SegmentOwner, Workbench } from "./ports.ts";
import type { SegmentContent } from "./row.ts";

export interface OverlayLimits {
  readonly runsMax: number;
  readonly bytesMax: number;
}

export const OVERLAY_LIMITS: OverlayLimits = { runsMax: 10_000, bytesMax: 512 * 1024 * 1024 };

/** The first run that could not be read, so that later ones are not in the answer either. */
export interface BlockedBy {
  readonly runId: string;
  readonly sequence: number;
  readonly reason: string;
}

/** Runs folded over one version, in order and without gap. */
export interface PendingOverlay {
  readonly baseCommitId: string;
  /** The last run that is in the content. */
  readonly through: number;
  /** Undefined when nothing is folded. Never changes: a later overlay has another. */
  readonly content: SegmentContent | undefined;
  readonly buffer: DeltaBuffer;
  readonly runs: number;
  /** Bytes of the bundles folded so far. */
  readonly bytes: number;
  readonly blockedBy: BlockedBy | undefined;
}

export function emptyOverlay(baseCommitId: string, appliedThrough: number): PendingOverlay {
  return {
    baseCommitId,
    through: appliedThrough,
    content: undefined,
    buffer: createDeltaBuffer(),
    runs: 0,
    bytes: 0,
    blockedBy: undefined,
  };
}

/**
 * Folds further runs, which must follow without a gap, over an overlay. Stops at the first that is
 * unreadable or over a limit.
 */
export async function extendOverlay(
  ports: Pick<Ports, "objects" | "engine">,
  owner: SegmentOwner,
  before: PendingOverlay,
  runs: readonly Run[],
  limits: OverlayLimits = OVERLAY_LIMITS,
): Promise<PendingOverlay> {
  if (runs.length === 0) return before;
  let { through, bytes } = before;
  let count = before.runs;
  let blockedBy: BlockedBy | undefined;
  await using workbench = await ports.engine.openWorkbench();
  for (const run of runs) {
    const reason =
      count + 1 > limits.runsMax || bytes + run.delta.bytes > limits.bytesMax
        ? "too much is pending for a fresh read; compact first"
        : await foldRun(ports, workbench, owner, run, before.buffer);
    if (reason !== undefined) {
      blockedBy = { runId: run.runId, sequence: run.sequence, reason };
      break;
    }
    through = run.sequence;
    count += 1;
    bytes += run.delta.bytes;
  }
  // A copy: views of earlier moments must not change when the buffer goes on.
  const { rows, replaced } = before.buffer.content();
  const content = { rows: new Map(rows), replaced: new Map(replaced) };
  return { ...before, through, content, runs: count, bytes, blockedBy };
}

/** Why the run could not be folded, or undefined. */
async function foldRun(
  ports: Pick<Ports, "objects">,
  workbench: Workbench,
  owner: SegmentOwner,
  run: Run,
  buffer: DeltaBuffer,
): Promise<string | undefined> {
  const found = await ports.objects.read(run.delta.key);
  if (found.outcome === "absent") return `its bundle "${run.delta.key}" is missing`;
  const received = await workbench.receiveDelta(owner, run, found.body);
  if (received.outcome === "poison") return received.reason;
  buffer.apply(await workbench.readDelta(received.input));
  return undefined;
}
