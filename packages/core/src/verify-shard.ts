/**
 * One shard, whole: pointer, versions, segments, log, bundles, exclusions, leftovers. Damage never
 * stops it. Compactors and writers may work meanwhile: it reads `APPLIED`, pointer, HEAD in this order,
 * and a problem counts only if the pointer is still the one that was read.
 */

import { canonicalJson } from "./canonical-json.ts";
import type { Pointer, SnapshotManifest } from "./formats.ts";
import { collectionKey, pointerKey, snapshotsPrefix } from "./object-keys.ts";
import type { Applied, Head } from "./ports.ts";
import { checkBelongTogether } from "./shard-state.ts";
import { isSiltError } from "./silt-error.ts";
import { POINTER_BYTES_MAX, readPointer } from "./snapshot-pointer.ts";
import { pointerProblems } from "./verify-chain.ts";
import { logObject, type ShardContext } from "./verify-context.ts";
import { reportExclusions } from "./verify-exclusions.ts";
import { reportLeftovers } from "./verify-leftovers.ts";
import {
  createFindings,
  type ProblemKind,
  unlessDamaged,
  unlessLogDamaged,
} from "./verify-report.ts";
import { verifyRuns } from "./verify-runs.ts";
import {
  type FoundManifest,
  type KnownVersions,
  linkOf,
  loadManifest,
  type VersionLink,
  verifyVersions,
} from "./verify-versions.ts";

/** Then the findings stand although compactors are quicker than we are. */
const PASSES_MAX = 4;
const LIST_PAGE = 1_000;

/** Verifies a shard; what it finds goes to the context's findings. */
export async function verifyShard(context: ShardContext): Promise<void> {
  for (let pass = 1; ; pass++) {
    const findings = createFindings();
    const mark = await readMark(context);
    await verifyOnce({ ...context, findings }, mark);
    const again = findings.hasProblems && pass < PASSES_MAX && (await readMark(context)) !== mark;
    if (again) continue;
    context.findings.add(findings);
    return;
  }
}

/** Tells pointers apart, damaged ones too. */
async function readMark({ ports, shard }: ShardContext): Promise<string> {
  const found = await unlessDamaged(
    () => ports.objects.get(pointerKey(shard), { bytesMax: POINTER_BYTES_MAX }),
    () => {},
  );
  if (found === undefined) return "too long";
  return found.outcome === "found" ? `etag ${found.etag}` : "absent";
}

async function verifyOnce(context: ShardContext, mark: string): Promise<void> {
  const { shard, findings } = context;
  const { applied, pointer, head } = await readItems(context, mark);
  const link = pointer ? linkOfPointer(pointer) : await findNewest(context, applied);
  const found = link && (await loadManifest(context, link));
  const manifest = manifestOf(found);
  const proven = found?.state === "proven";
  context.progress.expect(
    (link?.version ?? 0) + (manifest?.segments.length ?? 0) + (head?.sequence ?? 0),
  );
  if (pointer !== undefined && found?.state === "proven") {
    for (const problem of pointerProblems(pointer, found.manifest, shard)) {
      findings.problem(pointerKey(shard), "pointer-mismatch", `Pointer: ${problem}`);
    }
  }
  const inside = { ...context, vectors: vectorsOf(context, manifest, proven) };
  let known: KnownVersions | undefined;
  if (link !== undefined && found !== undefined) {
    known = await verifyVersions(inside, pointer, { link, found });
  }
  const appliedThrough =
    pointer?.appliedThrough ?? manifest?.appliedThrough ?? applied?.appliedThrough ?? 0;
  const basis = { pointer, head, manifest, proven, appliedThrough };
  const quarantined = await verifyRuns(inside, basis);
  reportExclusions(shard, manifest?.excluded ?? [], quarantined, findings);
  await reportLeftovers(inside, known, link?.version ?? 0);
}

interface ShardItems {
  readonly applied: Applied | undefined;
  readonly pointer: Pointer | undefined;
  readonly head: Head | undefined;
}

/** `APPLIED`, pointer and HEAD, in this order, and whether they belong together. */
async function readItems(context: ShardContext, mark: string): Promise<ShardItems> {
  const { ports, shard, findings } = context;
  const applied = await readLog(context, "APPLIED", () => ports.log.readApplied(shard));
  const pointer = await readPointerOrReport(context, mark);
  const head = await readLog(context, "HEAD", () => ports.log.readHead(shard));
  if (head !== undefined && head.value === undefined) {
    const message = "The log has no HEAD for this shard";
    findings.problem(logObject(shard, "HEAD"), "head-missing", message);
  }
  const items = { applied: applied?.value, pointer, head: head?.value };
  reportBelonging(context, items);
  return items;
}

/** An item of the log; undefined when it is damaged, which is reported. */
async function readLog<T>(
  { findings, shard }: ShardContext,
  what: string,
  read: () => Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  return unlessLogDamaged(
    async () => ({ value: await read() }),
    ({ message }) => findings.problem(logObject(shard, what), "log-unreadable", message),
  );
}

async function readPointerOrReport(
  context: ShardContext,
  mark: string,
): Promise<Pointer | undefined> {
  const { ports, shard, findings } = context;
  const key = pointerKey(shard);
  const read = await unlessDamaged(
    () => readPointer(ports.objects, shard),
    (error) => {
      const laterFormat = isSiltError(error, "invalid") && mark !== "too long";
      const kind: ProblemKind = mark === "absent" ? "pointer-missing" : "pointer-damaged";
      findings.problem(key, laterFormat ? "format-unknown" : kind, error.message);
    },
  );
  context.progress.expect(1);
  context.progress.done();
  if (read === undefined) return undefined;
  findings.count({ objects: 1, bytes: Buffer.byteLength(canonicalJson(read.pointer)) });
  return read.pointer;
}

function reportBelonging(context: ShardContext, { applied, pointer, head }: ShardItems): void {
  if (pointer === undefined) return;
  const { shard, findings } = context;
  const tooShort = head && belongingProblem(context, pointer, head, 0);
  if (tooShort !== undefined) findings.problem(logObject(shard, "HEAD"), "log-mismatch", tooShort);
  if (applied === undefined) {
    reportUnnoted(shard, pointer, findings);
    return;
  }
  // With a HEAD that is far enough, only the versions are compared.
  const reached: Head = {
    sequence: pointer.appliedThrough,
    runsHash: pointer.runsHash,
    floor: "",
    excluding: null,
    excludeRev: 0,
  };
  const outdated = belongingProblem(context, pointer, reached, applied.version);
  if (outdated !== undefined) {
    findings.problem(pointerKey(shard), "pointer-outdated", outdated);
    return;
  }
  if (applied.version < pointer.version) reportUnnoted(shard, pointer, findings);
  const sameVersion = applied.version === pointer.version;
  const agrees = sameVersion
    ? applied.appliedThrough === pointer.appliedThrough
    : applied.appliedThrough <= pointer.appliedThrough;
  if (agrees) return;
  findings.problem(
    logObject(shard, "APPLIED"),
    "log-mismatch",
    `The log notes run ${applied.appliedThrough} for version ${applied.version}, the pointer has run ${pointer.appliedThrough} at version ${pointer.version}`,
  );
}

/** What `checkBelongTogether()` says, without stopping. */
function belongingProblem(
  { shard }: ShardContext,
  pointer: Pointer,
  head: Head,
  appliedVersion: number,
): string | undefined {
  try {
    checkBelongTogether(shard, pointer, head, appliedVersion);
    return undefined;
  } catch (error) {
    if (!isSiltError(error, "corrupt")) throw error;
    return error.message;
  }
}

function reportUnnoted(
  shard: ShardContext["shard"],
  { version }: Pointer,
  findings: ShardContext["findings"],
): void {
  if (version === 0) return;
  findings.notice(
    logObject(shard, "APPLIED"),
    "flip-not-noted",
    `The log has not noted version ${version} yet; the next compaction makes up for it`,
  );
}

const linkOfPointer = ({ version, commitId, manifest }: Pointer): VersionLink => ({
  version,
  commitId,
  key: manifest.key,
  sha256: manifest.sha256,
});

const manifestOf = (found: FoundManifest | undefined): SnapshotManifest | undefined =>
  found?.state === "proven" ? found.manifest : found?.state === "damaged" ? found.loose : undefined;

/**
 * The vectors to check rows by. Where a version that is proven says others than the collection,
 * versions, segments and bundles agree with each other: `collection.json` is the odd one (F61).
 */
function vectorsOf(
  { shard, vectors, findings }: ShardContext,
  manifest: SnapshotManifest | undefined,
  proven: boolean,
): ShardContext["vectors"] {
  if (manifest === undefined || !proven) return vectors;
  if (vectors === undefined) return manifest.vectors;
  if (canonicalJson(vectors) === canonicalJson(manifest.vectors)) return vectors;
  findings.problem(
    collectionKey(shard.collection),
    "collection-mismatch",
    `It names other vectors than version ${manifest.version} of shard ${shard.shard}`,
  );
  return manifest.vectors;
}

const MANIFEST = /^(0|[1-9][0-9]*)-([0-9a-z]+)\/manifest\.json$/;

/** Without a pointer: the newest version that the log has noted, if there is only one of that number. */
async function findNewest(
  { ports, shard, findings }: ShardContext,
  applied: Applied | undefined,
): Promise<VersionLink | undefined> {
  const prefix = snapshotsPrefix(shard);
  const versionMax = applied?.version ?? Number.MAX_SAFE_INTEGER;
  let newest: readonly VersionLink[] = [];
  for (let after = prefix; ; ) {
    const page = await ports.objects.list(prefix, { after, limit: LIST_PAGE });
    for (const { key } of page) {
      const [, number, commitId] = MANIFEST.exec(key.slice(prefix.length)) ?? [];
      const version = Number(number);
      const best = newest[0]?.version ?? -1;
      if (commitId === undefined || version > versionMax || version < best) continue;
      const link = linkOf(shard, version, commitId, undefined);
      newest = version > best ? [link] : [...newest, link];
    }
    after = page.at(-1)?.key ?? after;
    if (page.length < LIST_PAGE) break;
  }
  if (newest.length === 1) return newest[0];
  const told =
    newest.length === 0 ? "no version lies here" : "several versions could be the current one";
  findings.notice(prefix, "unproven", `Without the pointer ${told}: segments are not checked`);
  return undefined;
}
