/** The planted bugs: each is a mistake that somebody made, or nearly made, in a system of this kind. */
import { type PlantedBug, SIMULATOR, tests } from "./bug.ts";

const CORE = "packages/core/src";

/** Of the commit: pointer, lease, `APPLIED`. */
const COMMIT: readonly PlantedBug[] = [
  {
    name: "flip without If-Match",
    harm: "two compactors flip on the same base, and one compaction is lost (F3)",
    edits: [
      {
        file: `${CORE}/snapshot-pointer.ts`,
        find: "  const condition = { ifMatch: base.etag };",
        replace: "  const condition = { ifMatch: (await readPointer(ports.objects, shard)).etag };",
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "lost, because a third writer flipped on top",
    harm: "a commit is reported as lost, and what it made is given up (F49)",
    edits: [
      {
        file: `${CORE}/snapshot-pointer.ts`,
        find: "if (isOurs(seen) || seen.ancestors.some(isOurs)) return",
        replace: "if (isOurs(seen)) return",
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "cleanup on an unknown outcome",
    harm: "the live version loses its manifest (F5)",
    edits: [
      {
        file: `${CORE}/flip-version.ts`,
        find: "  const flipped = await flipPointer(ports, shard, state.base, next);",
        replace: `  const flipped = await flipPointer(ports, shard, state.base, next).catch(async (error) => {
    await ports.objects.delete(next.manifest.key);
    throw error;
  });`,
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "APPLIED before the flip",
    harm: "the log says that a version stands which never will: the shard is stuck",
    edits: [
      {
        file: `${CORE}/flip-version.ts`,
        find: "  const flipped = await flipPointer(ports, shard, state.base, next);",
        replace:
          "  await raiseApplied(ports, shard, next);\n  const flipped = await flipPointer(ports, shard, state.base, next);",
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "a compactor that is not fenced by a later epoch",
    harm: "a zombie's flip takes the epoch down (F4, rule 1)",
    edits: [
      {
        file: `${CORE}/shard-state.ts`,
        find: "  if (base.pointer.epoch >= epoch) {",
        replace: "  if (base.pointer.epoch > epoch + 1_000_000) {",
      },
      {
        file: `${CORE}/flip-version.ts`,
        find: '  assert(base.epoch < epoch && next.epoch === epoch, "epochs only rise");',
        replace: "",
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "epoch reset on release",
    harm: "an epoch is used twice, so that a zombie is not told from its successor (F14)",
    edits: [
      {
        file: "packages/local/src/sqlite-lease-store.ts",
        find: '"UPDATE leases SET holder = NULL WHERE partition = ?"',
        replace: '"UPDATE leases SET holder = NULL, epoch = 0 WHERE partition = ?"',
      },
    ],
    caughtBy: tests("contract suite", "test/contract/local.test.ts"),
  },
  {
    name: "no hint after release",
    harm: "a hint that met a held lease was dropped: nobody wakes again (F59)",
    edits: [
      {
        file: `${CORE}/shard-lease.ts`,
        find: "    if (behind || head.excluding !== null) await ports.hints.send(lease.shard);",
        replace: "    if (behind && head.excluding !== null) await ports.hints.send(lease.shard);",
      },
    ],
    caughtBy: tests(
      "protocol tests",
      "test/protocol/zombies.test.ts",
      "test/protocol/crash.test.ts",
    ),
  },
];

/** Of writing and registering. */
const WRITE: readonly PlantedBug[] = [
  {
    name: "acknowledge before registering",
    harm: "a write is acknowledged that was never registered (F63)",
    edits: [
      {
        file: `${CORE}/register-runs.ts`,
        find: "      unclear = true;\n",
        replace:
          '      unclear = true;\n      if (attempt > 0) return { outcome: "registered", runs: plan.runs };\n',
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "two sequence numbers for one run id",
    harm: "a registration is repeated after a lost answer, and undoes newer work (F51)",
    edits: [
      {
        file: "packages/local/src/sqlite-run-log.ts",
        find: '      if (state.state !== "absent") return { outcome: "run-known", runId, state };',
        replace:
          '      if (state.state === "abandoned") return { outcome: "run-known", runId, state };\n      db.run("DELETE FROM run_ids WHERE run_id = ?", runId);',
      },
    ],
    caughtBy: tests("contract suite", "test/contract/local.test.ts"),
  },
  {
    name: "guard checked outside the transaction",
    harm: "a late event of a source overwrites a newer one",
    edits: [
      {
        file: "packages/local/src/sqlite-run-log.ts",
        find: '    if ((guard?.rev ?? 0) !== expectedRev) return { outcome: "guard-moved", guard };',
        replace:
          '    if ((guard?.rev ?? 0) > expectedRev + 1) return { outcome: "guard-moved", guard };',
      },
    ],
    caughtBy: tests("contract suite", "test/contract/local.test.ts"),
  },
  {
    name: "a bundle that is not read back",
    harm: "what the store lost or changed on the way is registered (F69)",
    edits: [
      {
        file: `${CORE}/publish-delta.ts`,
        find: "  if (found.bytes !== ref.bytes || found.sha256 !== ref.sha256) {",
        replace: "  if (found.bytes < 0) {",
      },
    ],
    caughtBy: tests("core tests", `${CORE}/publish-delta.test.ts`),
  },
  {
    name: "a conditional delete that does not look at HEAD",
    harm: "a delete by filter deletes what was written after it decided (rule 7)",
    edits: [
      {
        file: `${CORE}/write-deltas.ts`,
        find: "registerRuns(ports, drafts, heads === undefined ? {} : { heads });",
        replace: "registerRuns(ports, drafts, heads === undefined ? {} : {});",
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "an exclusion that is not announced",
    harm: "a delete by filter decides across an exclusion, and leaves what it should have deleted (rule 7)",
    edits: [
      {
        file: `${CORE}/flip-version.ts`,
        find: "  if (excludes) await ports.log.announceExclusion(shard, next.commitId);",
        replace: "",
      },
      {
        file: `${CORE}/flip-version.ts`,
        find: "  if (excludes && head.excluding !== next.commitId) {",
        replace: "  if (excludes && head.sequence < 0) {",
      },
    ],
    caughtBy: tests("protocol tests", "test/protocol/crash.test.ts"),
  },
  {
    name: "staged bytes that are not synced",
    harm: "power loss drops what was acknowledged (F53)",
    edits: [
      {
        file: "packages/local/src/stage-object.ts",
        find: "    fsyncSync(descriptor);\n",
        replace: "",
      },
    ],
    caughtBy: tests("system calls, by strace or node", "packages/local/src/durability.test.ts"),
  },
  {
    name: "a journal that is removed before its records are registered",
    harm: "a crash loses what a writer with a journal had taken (F66)",
    edits: [
      {
        file: "packages/silt/src/writer.ts",
        find: "      this.#journal?.seal();\n",
        replace: "      this.#journal?.seal();\n      this.#journal?.removeSealed();\n",
      },
    ],
    caughtBy: { by: "kill-test", kills: 120 },
  },
];

/** Of compaction and the fold. */
const MERGE: readonly PlantedBug[] = [
  {
    name: "last run of a page skipped",
    harm: "a run counts as applied that no segment holds (F27)",
    edits: [
      {
        file: `${CORE}/compact-shard.ts`,
        find: "  const sound = received.flatMap((run) =>",
        replace: "  const sound = received.slice(0, received.length > 1 ? -1 : 1).flatMap((run) =>",
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "delete dropped above the oldest segment",
    harm: "what was deleted comes back (F26)",
    edits: [
      {
        file: `${CORE}/compact-shard.ts`,
        find: 'plan.kept.length === 0 ? { drop: "spent", keepFrom } : { drop: "nothing" };',
        replace: 'plan.kept.length >= 0 ? { drop: "spent", keepFrom } : { drop: "nothing" };',
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "tombstones dropped while an exclusion is open",
    harm: "a retry brings back what was deleted since (rule 11)",
    edits: [
      {
        file: `${CORE}/compact-shard.ts`,
        find: "  const keepFrom = openExclusionStart(parts.excluded);",
        replace:
          "  const keepFrom = parts.excluded.length < 0 ? openExclusionStart(parts.excluded) : undefined;",
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "killed row dropped in a partial merge",
    harm: "a still older record of that id is uncovered (F54)",
    edits: [
      {
        file: `${CORE}/fold.ts`,
        find: '      rows.set(id, create({ operation: "delete", id, sequence: killer }));',
        replace: "",
      },
    ],
    caughtBy: tests("fold tests", `${CORE}/fold.test.ts`),
  },
  {
    name: "killed row dropped in a partial merge, in SQL",
    harm: "a still older record of that id is uncovered (F54)",
    edits: [
      {
        file: "packages/segment/src/merge.ts",
        find: '  db.exec("DROP TABLE killed");',
        replace:
          '  db.exec("DELETE FROM main.rows WHERE row IN (SELECT row FROM temp.killed)");\n  db.exec("DROP TABLE killed");',
      },
    ],
    caughtBy: tests("merge against the fold", "packages/segment/src/merge.test.ts"),
  },
  {
    name: "nulls of composed patches lost",
    harm: "a metadata key that was removed comes back (F54)",
    edits: [
      {
        file: `${CORE}/fold.ts`,
        find: "    metadata: { ...older.metadata, ...newer.metadata },",
        replace: "    metadata: applyMetadataPatch(older.metadata as Metadata, newer.metadata),",
      },
    ],
    caughtBy: tests("fold tests", `${CORE}/fold.test.ts`),
  },
  {
    name: "exclusion on throttling",
    harm: "a busy store makes acknowledged runs poison, for good (F23, F57)",
    edits: [
      {
        file: `${CORE}/receive-runs.ts`,
        find: "  const found = await ports.objects.read(run.delta.key);\n",
        replace: `  const found = await ports.objects.read(run.delta.key).catch(() => undefined);
  if (found === undefined) return { outcome: "poison", run, reason: "it cannot be read" };
`,
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "a missing bundle is excluded",
    harm: "with a wrong prefix or permission all that is pending is excluded (F57)",
    edits: [
      {
        file: `${CORE}/receive-runs.ts`,
        find: '  if (found.outcome === "absent") return { outcome: "missing", run };',
        replace:
          '  if (found.outcome === "absent") return { outcome: "poison", run, reason: "gone" };',
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "books that are not checked",
    harm: "a merge that lost or changed rows is published (I3, F28)",
    edits: [
      {
        file: "packages/segment/src/check-merge.ts",
        find: "  if (!balanced) {",
        replace: "  if (!balanced && rowsIn < 0) {",
      },
    ],
    caughtBy: tests("merge tests", "packages/segment/src/merge.test.ts"),
  },
];

/** Of readers. */
const READ: readonly PlantedBug[] = [
  {
    name: "pending filtered by state",
    harm: "runs that were just marked are in neither half of a fresh answer (F58)",
    edits: [
      {
        file: `${CORE}/shard-reader.ts`,
        find: "      const overlay = await this.#overlayOf(current.read, head);\n",
        replace: `      const marked = await this.#ports.log.readApplied(this.#owner);
      const from = Math.max(pointer.appliedThrough, marked?.appliedThrough ?? 0);
      if (from > pointer.appliedThrough) return this.#viewOf(current.snapshot, head, undefined);
      const overlay = await this.#overlayOf(current.read, head);
`,
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "cache file trusted without its hash",
    harm: "a cache that was damaged once answers wrongly for ever (F46)",
    edits: [
      {
        file: "packages/reader/src/segment-cache.ts",
        find: "      (hash) => hash === sha256,",
        replace: "      (hash) => hash !== sha256.slice(1),",
      },
    ],
    caughtBy: tests("cache tests", "packages/reader/src/segment-cache.test.ts"),
  },
  {
    name: "partial download renamed",
    harm: "half a segment takes a segment's name (F45)",
    edits: [
      {
        file: "packages/reader/src/segment-cache.ts",
        find: '        if (saved.bytes !== object.bytes || saved.sha256 !== object.sha256) return "damaged";\n',
        replace: '        if (saved.bytes < 0) return "damaged";\n',
      },
    ],
    caughtBy: tests("cache tests", "packages/reader/src/segment-cache.test.ts"),
  },
  {
    name: "an old pointer that was put back is read",
    harm: "a reader answers from a version that was rolled back, or lost",
    edits: [
      {
        file: `${CORE}/shard-reader.ts`,
        find: "    checkBelongTogether(this.#owner, pointer, head, applied?.version ?? 0);",
        replace:
          "    checkBelongTogether(this.#owner, pointer, head, applied === undefined ? 0 : 0);",
      },
    ],
    caughtBy: {
      by: "tests",
      what: "damage matrix",
      files: ["test/proof/damage"],
      project: "proof",
    },
  },
];

/** Of history and the collector. */
const HISTORY: readonly PlantedBug[] = [
  {
    name: "collector counts age from creation",
    harm: "a version that was current for long goes the moment another takes its place (F38)",
    edits: [
      {
        file: `${CORE}/retention.ts`,
        find: "Date.parse(supersededAt) < policy.versionsKeptMs;",
        replace: "Date.parse(manifest.stats.committedAt) < policy.versionsKeptMs;",
      },
    ],
    caughtBy: tests("collector tests", "test/protocol/collector.test.ts"),
  },
  {
    name: "orphan collected while its writer sleeps",
    harm: "a run is registered whose bundle is gone (F50)",
    edits: [
      {
        file: `${CORE}/collect-shard.ts`,
        find: '    return (await ports.log.abandonRun(shard, runId)) === "abandoned" ? "abandoned" : "keep";',
        replace: '    return "abandoned";',
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "collector deletes by what it saw before it retired versions",
    harm: "a rollback that was faster loses its segments (rule 2)",
    edits: [
      {
        file: `${CORE}/collect-shard.ts`,
        find: "  const { view } = await look(ports, shard);\n  const done = await deleteRipe(work, view, ripe);",
        replace:
          "  const { view } = before;\n  const known = view.history.versions.filter(({ ref }) => !retired.includes(ref.version));\n  const done = await deleteRipe(work, { ...view, history: { ...view.history, versions: known } }, ripe);",
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "collector takes attempts at the next version",
    harm: "a running compaction flips to objects that are gone (F37)",
    edits: [
      {
        file: `${CORE}/collect-shard.ts`,
        find: "version.version > read.pointer.version ||",
        replace: "version.version > read.pointer.version + 1 ||",
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "rollback without a pin",
    harm: "the collector takes the target while the rollback flips to it (rule 2)",
    edits: [
      {
        file: `${CORE}/rollback-shard.ts`,
        find: "  await holdVersion(ports, shard, target.ref, pin);\n",
        replace: '  if (pin.owner === "") await holdVersion(ports, shard, target.ref, pin);\n',
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "rollback that lowers appliedThrough",
    harm: "what was rolled back is applied again (F56, I4)",
    edits: [
      {
        file: `${CORE}/rollback-shard.ts`,
        find: "  const version = { state, plan, excluded, result: undefined };\n",
        replace: `  const { appliedThrough, runsHash } = target.manifest;
  const base = { ...state.base, pointer: { ...pointer, appliedThrough, runsHash } };
  const version = { state: { ...state, base }, plan, excluded, result: undefined };
`,
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "rollback to what is excluded today",
    harm: "an exclusion is undone, although exclusions are final at their place (rule 3)",
    edits: [
      {
        file: `${CORE}/rollback-shard.ts`,
        find: "  if (back !== undefined) {",
        replace: "  if (back !== undefined && back.from < 0) {",
      },
    ],
    caughtBy: SIMULATOR,
  },
];

export const PLANTED_BUGS: readonly PlantedBug[] = [
  ...COMMIT,
  ...WRITE,
  ...MERGE,
  ...READ,
  ...HISTORY,
];
