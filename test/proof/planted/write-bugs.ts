import { type PlantedBug, SIMULATOR, tests } from "./bug.ts";

const CORE = "packages/core/src";

/** Of writing and registering. */
export const WRITE_BUGS: readonly PlantedBug[] = [
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
