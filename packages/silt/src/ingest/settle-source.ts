/**
 * A source of which the guard moved, or that is another one since it was registered: both are read again
 * until they stand still. Only a new content is extracted again, and not often: what changes faster than
 * that is left unsettled, for it may be calm when it is taken up again.
 */
import { type Guard, isSiltError, type Ports } from "@silt/core";
import type { ImageFile, ImageSource } from "./image-source.ts";
import type { PreparedSource, PrepareOptions } from "./prepare-source.ts";
import type { SourceChange } from "./source-change.ts";
import { outcomeOf, type SourceOutcome } from "./source-outcome.ts";

/** A source that was prepared, and whether that was registered, or refused for its guard moved. */
export interface OpenSource {
  readonly change: SourceChange;
  readonly mayDelete: boolean;
  readonly isRegistered: boolean;
}

export interface SettleContext {
  readonly ports: Ports;
  readonly sources: ImageSource;
  readonly signal: AbortSignal | undefined;
  prepare(file: ImageFile, options: PrepareOptions): Promise<PreparedSource>;
  /** False when the guard moved. */
  register(change: SourceChange): Promise<boolean>;
}

/** The last change that we registered. */
interface Own {
  readonly change: SourceChange;
  /** Nobody else knows anything of the source. */
  readonly isNew: boolean;
}

/** Other processes that ingest the same source move its guard. */
const ROUNDS_MAX = 10;
/** Rounds that met another content: so many extractions more than the first at most. */
const CHANGED_ROUNDS_MAX = 2;
const PAUSE_MS_FIRST = 100;
const PAUSE_MS_MAX = 2_000;

/** Says what became of the source. Throws the signal's reason between rounds, and what ends the ingest. */
export async function settleSource(
  context: SettleContext,
  { change, mayDelete, isRegistered }: OpenSource,
): Promise<SourceOutcome> {
  const { sources, signal } = context;
  const { file } = change;
  let earlier = change;
  let own = isRegistered ? ownOf(change, undefined) : undefined;
  /** Since it was registered. */
  let isOther = isRegistered;
  let changedRounds = 0;
  for (let round = 1; round <= ROUNDS_MAX && changedRounds < CHANGED_ROUNDS_MAX; round++) {
    if (round > 1) await pause(context, round);
    signal?.throwIfAborted();
    const before = own;
    const mayUndo = async (guard: Guard | undefined) =>
      before?.isNew === true && isOf(before, guard) && (await sources.hasRoot(file));
    const prepared = await context.prepare(file, { mayDelete, mayUndo, earlier });
    if (prepared.prepared === "outcome") return concluded(prepared, own);
    if (isOther || contentOf(prepared.change) !== contentOf(earlier)) changedRounds += 1;
    earlier = prepared.change;
    isOther = false;
    if (!(await context.register(earlier))) continue;
    if (await stands(sources, earlier)) return outcomeOf(earlier);
    own = ownOf(earlier, own);
    isOther = true;
  }
  const reason = `Cannot ingest "${file.uri}": it changed, or others ingested it, again and again meanwhile; try again`;
  return { source: file.uri, outcome: "unsettled", reason };
}

/** False when it can't be told, too: whoever reads the source again then meets the trouble. */
export async function stands(
  sources: ImageSource,
  { file, stamp }: SourceChange,
): Promise<boolean> {
  try {
    return (await sources.stampOf(file.uri)) === stamp;
  } catch (error) {
    if (isSiltError(error, "unavailable")) return false;
    throw error;
  }
}

/** Full jitter in a window that doubles: who ingests the same source should be done meanwhile. */
async function pause({ ports, signal }: SettleContext, round: number): Promise<void> {
  const window = Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST * 2 ** round);
  await ports.clock.sleep(ports.random.fraction() * window, signal).catch(() => {});
}

function ownOf(change: SourceChange, before: Own | undefined): Own {
  const { guard } = change;
  if (before !== undefined && isOf(before, guard)) return { change, isNew: before.isNew };
  const isKnown = guard !== undefined && (guard.sourceDigest !== null || guard.failure !== null);
  return { change, isNew: !isKnown };
}

/** True when the guard is as the registration left it: a revision is written once. */
function isOf({ change }: Own, guard: Guard | undefined): boolean {
  return guard?.rev === (change.guard?.rev ?? 0) + 1;
}

/** Where a last look found nothing to do at our own guard, our change is what became of the source. */
function concluded(
  { outcome, guard }: Extract<PreparedSource, { prepared: "outcome" }>,
  own: Own | undefined,
): SourceOutcome {
  const isNothing = outcome.outcome === "unchanged" || outcome.outcome === "nothing";
  return isNothing && own !== undefined && isOf(own, guard) ? outcomeOf(own.change) : outcome;
}

const contentOf = (change: SourceChange) => (change.change === "deleted" ? null : change.digest);
