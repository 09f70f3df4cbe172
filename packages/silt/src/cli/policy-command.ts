import type { Policy } from "@silt/core";
import { type Command, Option } from "commander";
import { formatCount } from "../terminal/format-count.ts";
import { formatDuration } from "../terminal/format-duration.ts";
import type { CommandRun } from "./command-run.ts";
import { parseCount, parseDuration, parseDurationOrForever } from "./option-values.ts";
import type { Define } from "./program.ts";

interface PolicyFlags {
  readonly strategy?: Policy["compaction"]["strategy"];
  readonly keepVersions?: number;
  readonly keepVersionsFor?: number;
  readonly keepDeltasFor?: number | "forever";
  readonly grace?: number;
}

export function definePolicy(program: Command, define: Define): void {
  const command = program
    .command("policy")
    .description("how a collection is kept; with options, change it")
    .argument("<collection>")
    .addOption(new Option("--strategy <name>", "of compaction").choices(["tiered", "single"]))
    .option("--keep-versions <n>", "keep the newest that differ", parseCount)
    .option("--keep-versions-for <duration>", "after another took their place", parseDuration)
    .option("--keep-deltas-for <duration>", "applied bundles; or forever", parseDurationOrForever)
    .option("--grace <duration>", "between a plan of gc and deletion", parseDuration);
  define<PolicyFlags>(
    command,
    ["silt policy notes", "silt policy notes --keep-versions 3 --keep-versions-for 1d --grace 15m"],
    async (run, [name], options) => {
      const store = await run.store();
      const policy = hasChange(options)
        ? await store.setPolicy(name as string, (before) => changed(before, options))
        : await store.policy(name as string);
      const { compaction, lease, retention } = policy;
      run.terminal.json({ collection: name, compaction, lease, retention });
      printPolicy(run, policy);
      return undefined;
    },
  );
}

function hasChange(options: PolicyFlags): boolean {
  const { strategy, keepVersions, keepVersionsFor, keepDeltasFor, grace } = options;
  const given = [strategy, keepVersions, keepVersionsFor, keepDeltasFor, grace];
  return given.some((value) => value !== undefined);
}

function changed(policy: Policy, options: PolicyFlags): Policy {
  const { compaction, retention } = policy;
  const { keepDeltasFor = retention.deltasKeptMs } = options;
  return {
    ...policy,
    compaction: { ...compaction, strategy: options.strategy ?? compaction.strategy },
    retention: {
      versionsKept: options.keepVersions ?? retention.versionsKept,
      versionsKeptMs: options.keepVersionsFor ?? retention.versionsKeptMs,
      deltasKeptMs: keepDeltasFor === "forever" ? null : keepDeltasFor,
      graceMs: options.grace ?? retention.graceMs,
    },
  };
}

function printPolicy({ terminal }: CommandRun, { compaction, retention }: Policy): void {
  const { versionsKept, versionsKeptMs, deltasKeptMs, graceMs } = retention;
  terminal.table(
    ["policy", "value"],
    [
      ["compaction", compaction.strategy],
      ["versions kept", `the newest ${formatCount(versionsKept)} that differ`],
      ["older ones", `for ${formatDuration(versionsKeptMs)} after another took their place`],
      [
        "applied bundles",
        deltasKeptMs === null ? "for ever" : `for ${formatDuration(deltasKeptMs)}`,
      ],
      ["grace of gc", formatDuration(graceMs)],
    ],
  );
}
