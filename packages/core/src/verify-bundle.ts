/** The bundle that a run names: it exists, is what was registered, and is sound inside. */
import type { Run } from "./formats.ts";
import { deltaKey } from "./object-keys.ts";
import { isOpenExclusion } from "./plan-compaction.ts";
import type { SegmentOwner } from "./ports.ts";
import { hashObject } from "./publish-delta.ts";
import { isSiltError } from "./silt-error.ts";
import { checkRoom, type ShardContext } from "./verify-context.ts";
import { exclusionOf } from "./verify-exclusions.ts";
import { type ProblemKind, unlessDamaged } from "./verify-report.ts";
import type { RunsBasis } from "./verify-runs.ts";

/** A bundle is spooled, then unpacked beside itself. */
const BUNDLE_DISK_FACTOR = 2;

type BundleState =
  | { readonly state: "sound" }
  | { readonly state: "missing" }
  | { readonly state: "damaged"; readonly reason: string }
  | { readonly state: "unknown-format"; readonly reason: string };

/**
 * Reports what is wrong with a run's bundle; what that means depends on where the run stands. Gives it
 * back, unreported, when the run waits in quarantine.
 */
export async function verifyBundle(
  context: ShardContext,
  run: Run,
  basis: Pick<RunsBasis, "manifest" | "appliedThrough">,
): Promise<string | undefined> {
  const { shard, findings, deltasKeptUntil } = context;
  const { key, bytes } = run.delta;
  // A foreign key is reported with its run; what lies there is not this run's.
  if (key !== deltaKey(shard, run.runId)) return undefined;
  const found = await inspectBundle(context, run);
  if (found.state !== "missing") findings.count({ objects: 1, bytes });
  context.progress.done();
  if (found.state === "sound") return undefined;
  const told = found.state === "missing" ? "it is gone" : found.reason;
  const exclusion = exclusionOf(basis.manifest, run.sequence);
  // An open exclusion is one problem, which says this too.
  if (exclusion !== undefined && isOpenExclusion(exclusion)) return told;
  const isOver = deltasKeptUntil !== undefined && Date.parse(run.registeredAt) <= deltasKeptUntil;
  // The collector takes applied bundles of that age.
  if (found.state === "missing" && run.sequence <= basis.appliedThrough && isOver) return undefined;
  const status =
    exclusion !== undefined
      ? "excluded"
      : run.sequence <= basis.appliedThrough
        ? "applied"
        : "pending";
  const message = `Bundle of ${status} run ${run.sequence}: ${told}`;
  if (status === "excluded") findings.notice(key, "history-gone", message);
  else if (found.state === "unknown-format") findings.problem(key, "format-unknown", message);
  else findings.problem(key, bundleKind(found.state, status), message);
  return undefined;
}

function bundleKind(state: "missing" | "damaged", status: "applied" | "pending"): ProblemKind {
  return status === "applied" ? `applied-bundle-${state}` : `bundle-${state}`;
}

async function inspectBundle(context: ShardContext, run: Run): Promise<BundleState> {
  let failure: BundleState | undefined;
  const found = await unlessDamaged(
    () => receiveBundle(context, run),
    (error) => {
      const state = isSiltError(error, "invalid") ? "unknown-format" : "damaged";
      failure = { state, reason: error.message };
    },
  );
  return found ?? failure ?? { state: "sound" };
}

async function receiveBundle(context: ShardContext, run: Run): Promise<BundleState> {
  const { ports, shard, vectors } = context;
  const { key, bytes, sha256 } = run.delta;
  if (vectors === undefined) {
    const hashed = await hashObject(ports.objects, key);
    if (hashed === undefined) return { state: "missing" };
    if (hashed.sha256 === sha256 && hashed.bytes === bytes) return { state: "sound" };
    return { state: "damaged", reason: "it does not have its registered length and hash" };
  }
  const found = await ports.objects.read(key);
  if (found.outcome === "absent") return { state: "missing" };
  await using workbench = await ports.engine.openWorkbench();
  await checkRoom(workbench, key, bytes * BUNDLE_DISK_FACTOR);
  const owner: SegmentOwner = { ...shard, vectors };
  const { deep, signal } = context;
  const received = await workbench.receiveDelta(owner, run, found.body, { deep, signal });
  if (received.outcome === "poison") return { state: "damaged", reason: received.reason };
  if (received.input.replaced === run.replaced) return { state: "sound" };
  const reason = `it replaces ${received.input.replaced} parents, the log says ${run.replaced}`;
  return { state: "damaged", reason };
}
