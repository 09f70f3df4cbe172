import { type PlantedBug, SIMULATOR, tests } from "./bug.ts";

const CORE = "packages/core/src";

/** Of history and the collector. */
export const HISTORY_BUGS: readonly PlantedBug[] = [
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
        find: "  const after = await lookAgain(work, retired);\n  const done = after === undefined ? nothing : await deleteRipe(work, after.view, ripe);",
        replace:
          "  const { view } = before;\n  const known = view.history.versions.filter(({ ref }) => !retired.includes(ref.version));\n  const done = await deleteRipe(work, { ...view, history: { ...view.history, versions: known } }, ripe);",
      },
    ],
    caughtBy: tests("collector tests", "test/protocol/collector.test.ts"),
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
    caughtBy: tests("protocol tests", "test/protocol/history.test.ts"),
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
