import type { Command } from "commander";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCount } from "../terminal/format-count.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CollectionVersions, VersionReport } from "../version-report.ts";
import type { CommandRun } from "./command-run.ts";
import type { Define } from "./program.ts";

export function defineVersions(program: Command, define: Define): void {
  const command = program
    .command("versions")
    .description("the versions that can still be read, pinned and rolled back to, newest first")
    .argument("[collection]");
  define(command, ["silt versions", "silt versions notes --json"], async (run, [name]) => {
    const store = await run.store();
    const collections = await store.versions(name as string | undefined);
    run.terminal.json({ collections });
    printVersions(run, collections);
    return undefined;
  });
}

function printVersions({ terminal }: CommandRun, all: readonly CollectionVersions[]): void {
  if (all.length === 0) {
    terminal.print("there is no collection yet");
    return;
  }
  const right = (title: string) => ({ title, align: "right" as const });
  terminal.table(
    [
      "collection",
      "shard",
      right("version"),
      "made at",
      right("applied"),
      right("rows"),
      right("segments"),
      right("bytes"),
      right("left out"),
      { title: "", shrinks: true },
    ],
    all.flatMap(({ collection, shards }) =>
      shards.flatMap(({ shard, versions }) =>
        versions.map((version) => [
          collection,
          shard,
          formatCount(version.version),
          version.committedAt,
          formatCount(version.appliedThrough),
          formatCount(version.rows),
          formatCount(version.segments),
          formatBytes(version.bytes),
          formatCount(version.excluded + version.rolledBack),
          noteOf(version),
        ]),
      ),
    ),
  );
}

function noteOf({ current, made, pins, expired }: VersionReport): string {
  const held = pins.map(({ owner, reason }) =>
    plainText(`pinned by ${owner}${reason === "" ? "" : ` (${reason})`}`),
  );
  const notes = [
    ...(current ? ["current"] : []),
    ...(made === "rollback" ? ["made by a rollback"] : []),
    ...held,
    ...(expired ? ["beyond retention"] : []),
  ];
  return notes.join(", ");
}
