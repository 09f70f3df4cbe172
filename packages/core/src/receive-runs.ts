/**
 * Fetching the bundles of runs, and telling poison from a sick environment: poison excludes one run
 * for good, so it must be certain (F23, F57).
 */
import type { Run, SnapshotManifest } from "./formats.ts";
import type { MergeInput, Ports, SegmentOwner, ShardRef, Workbench } from "./ports.ts";
import { hashObject } from "./publish-delta.ts";
import type { ShardState } from "./shard-state.ts";
import { SiltError } from "./silt-error.ts";
import { readPointer } from "./snapshot-pointer.ts";

/** How far back an applied run that was sound is looked for. */
const CANARY_RUNS_MAX = 100;

export type ReceivedRun =
  | { readonly outcome: "sound"; readonly run: Run; readonly input: MergeInput }
  | { readonly outcome: "poison"; readonly run: Run; readonly reason: string };

type Fetched = ReceivedRun | { readonly outcome: "missing"; readonly run: Run };

interface ReceiveOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (step: string, done: number, total: number) => void;
}

/**
 * Receives the bundles of `runs`, in order. A suspect is fetched a second time; a missing bundle is
 * never poison by itself; several suspects at once also need a known object that reads well, and must
 * be bad once more after that.
 */
export async function receiveRuns(
  ports: Ports,
  workbench: Workbench,
  owner: SegmentOwner,
  runs: readonly Run[],
  state: Pick<ShardState, "base" | "manifest">,
  options: ReceiveOptions,
): Promise<readonly ReceivedRun[]> {
  const received: Fetched[] = [];
  using _ahead = ports.objects.readAhead?.(runs.map(({ delta }) => delta.key));
  for (const [index, run] of runs.entries()) {
    options.signal?.throwIfAborted();
    let fetched = await fetchRun(ports, workbench, owner, run);
    if (fetched.outcome !== "sound") fetched = await fetchRun(ports, workbench, owner, run);
    received.push(fetched);
    options.onProgress?.("fetch", index + 1, runs.length);
  }
  const suspects = received.filter((run) => run.outcome !== "sound");
  const missing = suspects.find((run) => run.outcome === "missing");
  if (missing !== undefined || suspects.length > 1) {
    await checkSurroundings(ports, owner, received, state, missing?.run);
    // What was sick may have recovered just before it showed us a good object: only now a look counts.
    for (const { run } of suspects) {
      options.signal?.throwIfAborted();
      const again = await fetchRun(ports, workbench, owner, run);
      if (again.outcome === "missing") throw gone(owner, run);
      received[received.findIndex((one) => one.run === run)] = again;
    }
  }
  return received.filter((run): run is ReceivedRun => run.outcome !== "missing");
}

async function fetchRun(
  ports: Ports,
  workbench: Workbench,
  owner: SegmentOwner,
  run: Run,
): Promise<Fetched> {
  const found = await ports.objects.read(run.delta.key);
  if (found.outcome === "absent") return { outcome: "missing", run };
  const received = await workbench.receiveDelta(owner, run, found.body);
  return received.outcome === "sound"
    ? { outcome: "sound", run, input: received.input }
    : { outcome: "poison", run, reason: received.reason };
}

/** Throws unless the store is well: same pointer, and a known object under `deltas/` reads as it should. */
async function checkSurroundings(
  ports: Ports,
  owner: SegmentOwner,
  received: readonly Fetched[],
  { base, manifest }: Pick<ShardState, "base" | "manifest">,
  missing: Run | undefined,
): Promise<void> {
  const { pointer } = await readPointer(ports.objects, owner);
  if (pointer.commitId !== base.pointer.commitId) {
    throw new SiltError(
      "fenced",
      `Cannot compact "${owner.collection}": the pointer moved meanwhile`,
    );
  }
  if (missing !== undefined) {
    throw gone(owner, missing);
  }
  const canary =
    received.find((run) => run.outcome === "sound")?.run ??
    (await lastGoodRun(ports, owner, manifest));
  const expected = canary?.delta ?? manifest.segments.at(-1)?.object ?? base.pointer.manifest;
  const seen = await hashObject(ports.objects, expected.key);
  if (seen?.sha256 === expected.sha256) return;
  throw new SiltError(
    "unavailable",
    `Cannot compact "${owner.collection}": several bundles read damaged, and so does the known object "${expected.key}"; ` +
      "nothing was excluded, check the storage",
  );
}

function gone(owner: SegmentOwner, { sequence, delta }: Run): SiltError {
  return new SiltError(
    "corrupt",
    `Cannot compact "${owner.collection}": bundle "${delta.key}" of run ${sequence} is missing; nothing was excluded and the run stays pending. ` +
      "Check the location and its permissions, or restore the object from a backup",
  );
}

/** The last applied run that is not excluded: an excluded one proves nothing, for it was bad before. */
export async function lastGoodRun(
  ports: Pick<Ports, "log">,
  owner: ShardRef,
  manifest: SnapshotManifest,
): Promise<Run | undefined> {
  const { appliedThrough, excluded } = manifest;
  const after = Math.max(0, appliedThrough - CANARY_RUNS_MAX);
  const runs = await ports.log.readRuns(owner, { after, limit: appliedThrough - after });
  return runs.findLast(
    ({ sequence }) => !excluded.some(({ from, to }) => from <= sequence && sequence <= to),
  );
}
