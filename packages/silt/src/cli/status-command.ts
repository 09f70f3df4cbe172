import { setTimeout as sleep } from "node:timers/promises";
import { isOpenExclusion } from "@silt/core";
import type { Command } from "commander";
import type { CollectionStatus } from "../collection-status.ts";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCount } from "../terminal/format-count.ts";
import { formatCounted } from "../terminal/format-counted.ts";
import { formatDuration } from "../terminal/format-duration.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CommandRun, ExitCode } from "./command-run.ts";
import type { Define } from "./program.ts";

const WATCH_MS = 2_000;

export function defineStatus(program: Command, define: Define): void {
  const command = program
    .command("status")
    .description("how each shard is doing; with --source: is this picture searchable yet?")
    .argument("[collection]")
    .option("--source <uri>", "a picture's URI or path")
    .option("--watch", "again every 2 seconds, until interrupted");
  define<{ source?: string; watch?: boolean }>(
    command,
    ["silt status", "silt status --source photos/receipt.png", "silt status --watch"],
    async (run, [name], { source, watch }) => {
      const once = () =>
        source === undefined
          ? showStatus(run, name as string | undefined)
          : showSource(run, source);
      if (watch !== true) return once();
      for (;;) {
        if (!run.json && run.host.stdout.isTTY === true) run.host.stdout.write("\u001b[H\u001b[2J");
        await once();
        try {
          await sleep(WATCH_MS, undefined, { signal: run.signal });
        } catch {
          return undefined; // interrupted, which is how a watch ends
        }
      }
    },
  );
}

async function showStatus(run: CommandRun, name: string | undefined): Promise<undefined> {
  const store = await run.store();
  const collections = await store.status(name);
  run.terminal.json({
    location: store.location,
    collections: collections.map((collection) => ({
      ...collection,
      shards: collection.shards.map(({ exclusions, ...shard }) => ({
        ...shard,
        exclusions: exclusions.filter(isOpenExclusion),
      })),
    })),
  });
  printStatus(run, store.location, collections);
  return undefined;
}

function printStatus(
  { terminal }: CommandRun,
  location: string,
  collections: readonly CollectionStatus[],
): void {
  const { paint } = terminal;
  terminal.print(`${paint.bold("store")} ${plainText(location)}`);
  if (collections.length === 0) {
    terminal.print('no collection yet; "silt init" or "silt ingest" makes one');
    return;
  }
  const right = (title: string) => ({ title, align: "right" as const });
  terminal.table(
    [
      "collection",
      "shard",
      right("version"),
      right("rows"),
      right("segments"),
      right("bytes"),
      { ...right("pending"), paint: (text) => (text === "0" ? text : paint.yellow(text)) },
      right("oldest"),
      right("last flip"),
      { ...right("excluded"), paint: (text) => (text === "0" ? text : paint.red(text)) },
    ],
    collections.flatMap((collection) =>
      collection.shards.map((shard) => [
        collection.collection,
        shard.shard,
        formatCount(shard.version),
        formatCount(shard.rows),
        formatCount(shard.segments),
        formatBytes(shard.bytes),
        formatCount(shard.pending),
        ago(shard.oldestPendingSeconds),
        ago(shard.secondsSinceFlip),
        formatCount(shard.excluded),
      ]),
    ),
  );
  for (const { collection, shards } of collections) {
    for (const { shard, exclusions, rolledBack } of shards) {
      if (rolledBack > 0) {
        terminal.print(
          paint.dim(
            `${collection} ${shard}: rollbacks have undone ${formatCounted(rolledBack, "run")}`,
          ),
        );
      }
      for (const { runIds, reason } of exclusions.filter(isOpenExclusion)) {
        terminal.print(
          `${paint.red("excluded")} ${collection} ${shard} ${runIds.join(" ")}: ${plainText(reason)}`,
        );
      }
    }
  }
}

const ago = (seconds: number | null) => (seconds === null ? "-" : formatDuration(seconds * 1000));

async function showSource(run: CommandRun, source: string): Promise<ExitCode | undefined> {
  const store = await run.store();
  const status = await store.sourceStatus(source);
  run.terminal.json(status);
  const { terminal } = run;
  const { paint } = terminal;
  const painted =
    status.state === "applied" ? paint.green(status.state) : paint.yellow(status.state);
  terminal.print(`${painted} ${plainText(status.source)}`);
  if (status.reason !== undefined) terminal.print(plainText(status.reason));
  for (const { collection, shard, sequence, runId } of status.runs) {
    terminal.print(`  ${collection} ${shard} run ${sequence} ${runId}`);
  }
  return undefined;
}
