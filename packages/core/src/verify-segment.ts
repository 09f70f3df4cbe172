/** The objects that a version lists: there, as long and with the hash that it says, and sound inside. */
import type { ObjectRef, SegmentDescriptor, SnapshotManifest } from "./formats.ts";
import { hashObject } from "./publish-delta.ts";
import { countRows } from "./row.ts";
import { checkRoom, type ShardContext } from "./verify-context.ts";
import { type ProblemKind, unlessDamaged } from "./verify-report.ts";

interface Finding {
  readonly kind: ProblemKind;
  readonly message: string;
}

/** A segment of the current version, to its last row. `proven`: the manifest has its hash. */
export async function verifySegment(
  context: ShardContext,
  manifest: SnapshotManifest,
  segment: SegmentDescriptor,
  proven: boolean,
): Promise<void> {
  const { key } = segment.object;
  const found = await orDamage(() => auditSegment(context, manifest, segment));
  for (const finding of found) report(context, key, finding, proven);
  context.progress.done();
  for (const { kind, object, segmentSha256 } of segment.sidecars) {
    const foreign: readonly Finding[] =
      segmentSha256 === segment.object.sha256
        ? []
        : [
            {
              kind: "segment-damaged",
              message: `Sidecar ${kind}: it was made for another segment`,
            },
          ];
    const damage = await orDamage(() => compareHash(context, object, `Sidecar ${kind}`));
    for (const finding of [...foreign, ...damage]) report(context, object.key, finding, proven);
  }
}

/** An object that only older versions list; false when it is gone, which a collector may explain. */
export async function verifyOldObject(
  context: ShardContext,
  ref: ObjectRef,
  version: number,
  proven: boolean,
): Promise<boolean> {
  const found = await orDamage(() => compareHash(context, ref, `Segment of version ${version}`));
  context.progress.done();
  if (found.some(({ kind }) => kind === "segment-missing")) return false;
  for (const { message } of found) {
    report(context, ref.key, { kind: "old-segment-damaged", message }, proven);
  }
  return true;
}

function report(
  { findings }: ShardContext,
  object: string,
  { kind, message }: Finding,
  proven: boolean,
): void {
  if (proven) findings.problem(object, kind, message);
  else findings.notice(object, "unproven", `${message}; but the manifest that says so is damaged`);
}

async function orDamage(check: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  let damage: readonly Finding[] = [];
  const found = await unlessDamaged(check, ({ message }) => {
    damage = [{ kind: "segment-damaged", message }];
  });
  return found ?? damage;
}

async function compareHash(
  { ports, findings }: ShardContext,
  ref: ObjectRef,
  what: string,
): Promise<readonly Finding[]> {
  const hashed = await hashObject(ports.objects, ref.key);
  if (hashed === undefined) return [{ kind: "segment-missing", message: `${what}: it is gone` }];
  findings.count({ objects: 1, bytes: hashed.bytes });
  if (hashed.bytes === ref.bytes && hashed.sha256 === ref.sha256) return [];
  const message =
    hashed.bytes === ref.bytes
      ? `${what}: its bytes have another hash than was committed`
      : `${what}: it has ${hashed.bytes} bytes, ${ref.bytes} were committed`;
  return [{ kind: "segment-damaged", message }];
}

async function auditSegment(
  context: ShardContext,
  manifest: SnapshotManifest,
  segment: SegmentDescriptor,
): Promise<readonly Finding[]> {
  const { ports, shard, findings, signal, deep } = context;
  const { key, bytes } = segment.object;
  const found = await ports.objects.read(key);
  if (found.outcome === "absent") {
    const message = `Version ${manifest.version}, the current one, lists it, but it is gone`;
    return [{ kind: "segment-missing", message }];
  }
  findings.count({ objects: 1, bytes: found.bytes, segments: 1 });
  await using workbench = await ports.engine.openWorkbench();
  await checkRoom(workbench, key, bytes);
  const owner = { ...shard, vectors: context.vectors ?? manifest.vectors };
  const received = await workbench.receiveSegment(owner, segment, found.body);
  if (received.outcome === "poison") {
    const message =
      found.bytes === bytes
        ? "Segment: its bytes have another hash than was committed"
        : `Segment: it has ${found.bytes} bytes, ${bytes} were committed`;
    return [{ kind: "segment-damaged", message }];
  }
  const problems = await workbench.auditSegment(owner, segment, received.input, { deep, signal });
  findings.count({ rows: countRows(segment.rows) });
  return problems.map((problem) => ({ kind: "segment-unsound", message: `Segment: ${problem}` }));
}
