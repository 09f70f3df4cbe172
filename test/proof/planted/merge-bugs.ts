import { type PlantedBug, SIMULATOR, tests } from "./bug.ts";

const CORE = "packages/core/src";

/** Of compaction and the fold. */
export const MERGE_BUGS: readonly PlantedBug[] = [
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
    caughtBy: tests("protocol tests", "test/protocol/poison.test.ts"),
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
