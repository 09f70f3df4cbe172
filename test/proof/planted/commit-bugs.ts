import { type PlantedBug, SIMULATOR, tests } from "./bug.ts";

const CORE = "packages/core/src";

/** Of the commit: pointer, lease, `APPLIED`. */
export const COMMIT_BUGS: readonly PlantedBug[] = [
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
    caughtBy: tests("protocol tests", "test/protocol/zombies.test.ts"),
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
