/** The matrix as a page of Markdown. */
import { arch, cpus, platform, release, totalmem } from "node:os";
import Database from "better-sqlite3";
import { DAMAGES } from "./damage-case.ts";
import { HARMLESS } from "./harmless.ts";
import type { KindResult, Matrix, Tally } from "./run-matrix.ts";

const INTRODUCTION = `# Damage

Every kind of thing that Silt persists, damaged in every way, on copies of a small real store (two collections, several versions and layers, an
excluded run that came back, pins, guards, a plan of the collector). After each damage: \`verify\`; readers of the damaged collection with an
empty and with a warm cache, with and without pending runs, all records and a search; a compaction, and what it committed; and the same for the
other collection. Answers are held against the reference model, which shares no code with the readers. After a bit anywhere it is less: two of
the four kinds of reads, the compaction every second time, and every fifth time the other collection (else \`verify\` looks at the damaged one).

A cell says how many of its damages were found, and how many there were; \`(n)\` are harmless by the list below. Notices and refusals to open
that name the thing count as found: a version that is gone may have been collected, a copy is a leftover.

A whole older \`log.sqlite\` is a backup that was put back without its objects: every answer is right as of that moment, runs registered since
are not in it, and \`verify\` lists their bundles as leftovers; more cannot be known from a log and a store that agree with each other.
`;

/** The totals that the goal is about. */
export function totalsOf({ kinds }: Matrix): Tally & { readonly meaningful: number } {
  const sum = { total: 0, found: 0, named: 0, harmless: 0, unseen: 0, wrong: 0 };
  const more = { rest: 0, restAsked: 0, notices: 0, refusals: 0 };
  const all: Tally = { ...sum, ...more };
  for (const { sum: each } of kinds) {
    for (const name of Object.keys(all) as (keyof Tally)[]) all[name] += each[name];
  }
  return { ...all, meaningful: all.total - all.harmless - all.unseen };
}

/** \`docs/DAMAGE.md\`. */
export function renderMatrix(matrix: Matrix, command: string): string {
  return [
    INTRODUCTION,
    summary(matrix),
    table(matrix.kinds),
    details(matrix.kinds),
    harmlessList(),
    provenance(matrix, command),
  ].join("\n");
}

export function summary(matrix: Matrix): string {
  const { total, meaningful, found, named, harmless, unseen, wrong } = totalsOf(matrix);
  const known = unseen === 0 ? "" : `, ${unseen} not to be seen, by reasons that are known`;
  return (
    `**${total} damages: ${share(found, meaningful)} found, ${share(named, meaningful)} named, ` +
    `${wrong} wrong answers**; ${harmless} harmless${known}.\n`
  );
}

const share = (part: number, whole: number): string =>
  part === whole ? "100 %" : `${((100 * part) / whole).toFixed(2)} % (${part} of ${whole})`;

export function table(kinds: readonly KindResult[]): string {
  const head = ["", ...DAMAGES].join(" | ");
  const lines = kinds.map(({ kind, cells }) =>
    [kind.name, ...DAMAGES.map((damage) => cell(cells.get(damage)))].join(" | "),
  );
  const rule = `|---|${DAMAGES.map(() => "---").join("|")}|`;
  return [`|${head} |`, rule, ...lines.map((line) => `| ${line} |`), ""].join("\n");
}

function cell(tally: Tally | undefined): string {
  if (tally === undefined || tally.total === 0) return "–";
  const { total, found, harmless, unseen, wrong } = tally;
  const counted = total - harmless - unseen;
  const quiet = unseen === 0 ? "" : ` (${unseen} unseen)`;
  const free = `${harmless === 0 ? "" : ` (${harmless})`}${quiet}`;
  const bad = wrong === 0 ? "" : ` **${wrong} wrong**`;
  return counted === 0 ? `${free.trim()}${bad}` : `${found}/${counted}${free}${bad}`;
}

function details(kinds: readonly KindResult[]): string {
  const lines = kinds.map(({ kind, sum }) => {
    const { total, harmless, named, notices, refusals, rest, restAsked, wrong } = sum;
    const goesOn = kind.shared ? `${rest}/${restAsked} (shared)` : `${rest}/${restAsked}`;
    const columns = [`${named}/${total - harmless}`, notices, refusals, wrong, goesOn];
    return `| ${kind.name} | ${columns.join(" | ")} |`;
  });
  return [
    "| | named with its kind | by a notice alone | by a refusal to open or to go on | wrong answers | the other collection goes on |",
    "|---|---|---|---|---|---|",
    ...lines,
    "",
    "The store's marker and its log belong to all collections: nothing goes on without them. Wherever something went on, it was right.",
    "",
  ].join("\n");
}

function harmlessList(): string {
  const lines = HARMLESS.map(({ kind, reason }) => `- **${kind}**: ${reason}.`);
  const rule =
    "A damage counts as harmless only if its entry holds, nobody noticed it, and every answer was right:";
  return ["## Harmless damage", "", rule, "", ...lines, ""].join("\n");
}

function provenance({ seed, places, ms }: Matrix, command: string): string {
  const [cpu] = cpus();
  const sqlite = new Database(":memory:");
  const version = sqlite.prepare<[], string>("SELECT sqlite_version()").pluck().get();
  sqlite.close();
  const gigabytes = Math.round(totalmem() / 1024 ** 3);
  return [
    "## How",
    "",
    "```sh",
    command,
    "```",
    "",
    `Seed ${seed}, ${places} random bits a kind; ${new Date().toISOString().slice(0, 10)}, ${Math.round(ms / 1000)} s.`,
    `${cpu?.model ?? "unknown processor"} × ${cpus().length}, ${gigabytes} GB, ${platform()} ${release()} ${arch()}, Node ${process.versions.node}, SQLite ${version}.`,
    "A sample of it runs in the gate (`test/proof/damage/matrix.test.ts`).",
    "",
  ].join("\n");
}
