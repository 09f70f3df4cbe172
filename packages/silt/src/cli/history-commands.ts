/** Old versions: listing them, going back to one, holding one. */
import type { Command } from "commander";
import type { RollbackReport } from "../rollback-collection.ts";
import type { Store } from "../store.ts";
import { formatBytes } from "../terminal/format-bytes.ts";
import { formatCount } from "../terminal/format-count.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CollectionVersions } from "../version-report.ts";
import { type CommandRun, type ExitCode, refuseUsage } from "./command-run.ts";
import { parseVersionNumber } from "./option-values.ts";
import type { Define } from "./program.ts";

const SOURCES_SHOWN = 20;

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

function noteOf({
  current,
  pins,
  expired,
}: CollectionVersions["shards"][number]["versions"][number]): string {
  const held = pins.map(({ owner, reason }) =>
    plainText(`pinned by ${owner}${reason === "" ? "" : ` (${reason})`}`),
  );
  return [...(current ? ["current"] : []), ...held, ...(expired ? ["beyond retention"] : [])].join(
    ", ",
  );
}

interface RollbackFlags {
  readonly shard?: string;
  readonly base?: number;
  readonly reason?: string;
}

export function defineRollback(program: Command, define: Define): void {
  const command = program
    .command("rollback")
    .description(
      "a new version with the content of an old one; the runs between are left out for good, pending ones still apply",
    )
    .argument("<target...>", "[COLLECTION] VERSION; COLLECTION when there are several")
    .option("--shard <name>", "which shard, where there are several, like 0-of-4")
    .option("--base <version>", "refuse unless this is the current version", parseVersionNumber)
    .option("--reason <text>", "noted in the new version");
  define<RollbackFlags>(
    command,
    [
      "silt rollback notes 12",
      'silt rollback 12 --base 14 --reason "bad import"',
      "silt rollback notes 7 --shard 0-of-4",
    ],
    async (run, [target], { shard, base, reason }) => {
      const store = await run.store();
      const [name, version] = await targetOf(store, target as readonly string[]);
      const { signal } = run;
      const options = { shard, baseVersion: base, reason, signal };
      const report = await store.rollback(name, version, options);
      run.terminal.json(report);
      return printRollback(run, report);
    },
  );
}

/** `[COLLECTION] VERSION`: the only collection may go without saying. */
async function targetOf(
  store: Store,
  words: readonly string[],
): Promise<readonly [name: string, version: number]> {
  const [first = "", second] = words;
  const number = second ?? first;
  if (words.length > 2 || !/^\d+$/.test(number)) {
    refuseUsage(`Cannot use version "${words.join(" ")}": expected [COLLECTION] VERSION`);
  }
  if (second !== undefined) return [first, parseVersionNumber(second)];
  const names = await store.collections();
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return [only, parseVersionNumber(number)];
  return refuseUsage(
    `Cannot use version ${number}: which collection? There ${names.length === 0 ? "is none yet" : `are ${names.join(", ")}`}`,
  );
}

function printRollback({ terminal }: CommandRun, report: RollbackReport): ExitCode | undefined {
  const { collection, shard, outcome, from, to, version, undone, sources } = report;
  if (outcome === "busy") {
    terminal.error(`${collection} ${shard}: ${report.holder} compacts it; try again`);
    return 4;
  }
  if (outcome === "lost") {
    terminal.error(
      `${collection} ${shard}: somebody else made version ${version}; look at it, then try again`,
    );
    return 4;
  }
  terminal.print(
    `${collection} ${shard}: version ${version} holds what version ${to} held; ` +
      `${formatCount(undone.records)} records of ${formatCount(undone.runs)} runs since then are left out for good`,
  );
  terminal.note(
    `version ${from} can still be read: silt export ${collection} --jsonl FILE --version ${shard === "0-of-1" ? from : `${shard}=${from}`}`,
  );
  if (sources.length === 0) return undefined;
  terminal.print(`${formatCount(sources.length)} sources were undone; to bring them back:`);
  for (const source of sources.slice(0, SOURCES_SHOWN)) {
    terminal.print(`  silt ingest ${plainText(pathOf(source))}`);
  }
  if (sources.length > SOURCES_SHOWN) {
    terminal.print(`  and ${formatCount(sources.length - SOURCES_SHOWN)} more (--json names all)`);
  }
  return undefined;
}

function pathOf(source: string): string {
  if (!source.startsWith("file://")) return source;
  return JSON.stringify(decodeURIComponent(new URL(source).pathname));
}

interface PinFlags {
  readonly shard?: string;
  readonly owner?: string;
  readonly reason?: string;
}

export function definePin(program: Command, define: Define): void {
  const command = program
    .command("pin")
    .description("hold a version: the collector leaves it alone until it is unpinned")
    .argument("<target...>", "[COLLECTION] VERSION; COLLECTION when there are several")
    .option("--shard <name>", "which shard, where there are several")
    .option("--owner <name>", 'who holds it; default "operator"')
    .option("--reason <text>", "shown by silt versions");
  define<PinFlags>(
    command,
    ['silt pin notes 12 --owner audit --reason "year 2026"'],
    async (run, [target], options) => {
      const store = await run.store();
      const [name, version] = await targetOf(store, target as readonly string[]);
      const report = await store.pin(name, version, options);
      run.terminal.json(report);
      run.terminal.print(
        plainText(`${name} ${report.shard}: version ${version} is held by ${report.owner}`),
      );
      return undefined;
    },
  );
}

export function defineUnpin(program: Command, define: Define): void {
  const command = program
    .command("unpin")
    .description("let a version go that was pinned")
    .argument("<target...>", "[COLLECTION] VERSION; COLLECTION when there are several")
    .option("--shard <name>", "which shard, where there are several")
    .option("--owner <name>", 'who held it; default "operator"');
  define<PinFlags>(
    command,
    ["silt unpin notes 12 --owner audit"],
    async (run, [target], options) => {
      const store = await run.store();
      const [name, version] = await targetOf(store, target as readonly string[]);
      const report = await store.unpin(name, version, options);
      run.terminal.json(report);
      run.terminal.print(
        plainText(
          `${name} ${report.shard}: version ${version} is no longer held by ${report.owner}`,
        ),
      );
      return undefined;
    },
  );
}
