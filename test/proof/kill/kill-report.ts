/** What a run of kills has seen, for people and programs: whether it tests something shows here. */

import type { Reckoning } from "./check-store.ts";
import type { LifeReport } from "./life.ts";

export interface KillReport {
  readonly seed: number;
  readonly kills: number;
  readonly minutes: number;
  /** Lives that were killed, by role and by how. */
  readonly byRole: Readonly<Record<string, number>>;
  readonly byEnding: Readonly<Record<string, number>>;
  /** What roles were in the middle of when they were killed. */
  readonly byPhase: Readonly<Record<string, number>>;
  /** What was done, all roles together. */
  readonly did: Readonly<Record<string, number>>;
  /** Failures that Silt may have, by kind, with an example of each. */
  readonly errors: Readonly<Record<string, number>>;
  readonly examples: Readonly<Record<string, string>>;
  /** Processes that V8 itself took down (nodejs/node issue 64500). */
  readonly v8Aborts: number;
  readonly reckonings: readonly Reckoning[];
  /** Empty when nothing was lost, damaged, wrong or grown. */
  readonly wrong: readonly string[];
}

/** Adds lives up. */
export class KillTally {
  readonly #byRole = new Map<string, number>();
  readonly #byEnding = new Map<string, number>();
  readonly #byPhase = new Map<string, number>();
  readonly #did = new Map<string, number>();
  readonly #errors = new Map<string, number>();
  readonly #examples = new Map<string, string>();
  readonly wrong: string[] = [];
  readonly reckonings: Reckoning[] = [];
  kills = 0;
  #v8Aborts = 0;

  add({ slot, ending, end, phase, did, errors, wrong }: LifeReport): void {
    this.wrong.push(...wrong);
    for (const [what, count] of did) raise(this.#did, what, count);
    for (const [kind, example] of errors) {
      raise(this.#errors, `${slot.role}: ${kind}`);
      this.#examples.set(`${slot.role}: ${kind}`, example);
    }
    if (end === "aborted") this.#v8Aborts += 1;
    if (end !== "killed") return;
    this.kills += 1;
    raise(this.#byRole, slot.role);
    raise(this.#byEnding, ending);
    raise(this.#byPhase, `${slot.role}: ${phase}`);
  }

  hasDone(deed: string): boolean {
    return this.#did.has(deed);
  }

  report(seed: number, minutes: number): KillReport {
    return {
      seed,
      kills: this.kills,
      minutes,
      byRole: sorted(this.#byRole),
      byEnding: sorted(this.#byEnding),
      byPhase: sorted(this.#byPhase),
      did: sorted(this.#did),
      errors: sorted(this.#errors),
      examples: Object.fromEntries(this.#examples),
      v8Aborts: this.#v8Aborts,
      reckonings: this.reckonings,
      wrong: this.wrong,
    };
  }
}

function raise(counts: Map<string, number>, name: string, by = 1): void {
  counts.set(name, (counts.get(name) ?? 0) + by);
}

const sorted = (counts: ReadonlyMap<string, number>) =>
  Object.fromEntries([...counts].toSorted((a, b) => b[1] - a[1]));

const BAR_CHARS = 40;

function table(title: string, counts: Readonly<Record<string, number>>): readonly string[] {
  const most = Math.max(...Object.values(counts), 1);
  const width = Math.max(...Object.keys(counts).map((name) => name.length), 0);
  const lines = Object.entries(counts).map(([name, count]) => {
    const bar = "▇".repeat(Math.ceil((count / most) * BAR_CHARS));
    return `  ${name.padEnd(width)} ${String(count).padStart(6)} ${bar}`;
  });
  return ["", title, ...lines];
}

/** A line a role: how often it was killed in which phase. */
function phaseTable(byPhase: Readonly<Record<string, number>>): readonly string[] {
  const roles = Map.groupBy(Object.entries(byPhase), ([name]) => name.split(": ")[0] as string);
  const lines = [...roles].map(([role, counts]) => {
    const phases = new Map<string, number>();
    for (const [name, count] of counts) raise(phases, name.slice(role.length + 2), count);
    return `  ${role}: ${[...phases].map(([phase, count]) => `${phase} ${count}`).join(", ")}`;
  });
  return ["", "killed in the middle of", ...lines];
}

/** The report as text. */
export function formatReport(report: KillReport): string {
  const last = report.reckonings.at(-1);
  const total = (of: (reckoning: Reckoning) => number) =>
    report.reckonings.reduce((sum, reckoning) => sum + of(reckoning), 0);
  const growth = report.reckonings.map(
    ({ growth: g, records }) =>
      `  ${g.runs} runs, ${g.versions} versions, ${records} records: ${g.objects} objects of ${g.objectBytes} bytes, ` +
      `log ${g.logBytes}, wal ${g.walBytes}, cache ${g.cacheFiles} files of ${g.cacheBytes}, ` +
      `tmp ${g.workBefore} then ${g.workAfter}`,
  );
  return [
    `${report.kills} kills in ${report.minutes.toFixed(1)} minutes, seed ${report.seed}`,
    `${total((one) => one.operations)} operations acknowledged or cut off, ${report.reckonings.length} reckonings, ` +
      `${last?.records ?? 0} records at the end`,
    ...table("killed, by role", report.byRole),
    ...table("killed, by way", report.byEnding),
    ...phaseTable(report.byPhase),
    ...table("done", report.did),
    ...table("failures that may be, by role", report.errors),
    ...Object.entries(report.examples).map(([kind, example]) => `  e.g. ${kind}: ${example}`),
    "",
    "after each reckoning",
    ...growth,
    "",
    ...(report.v8Aborts > 0 ? [`${report.v8Aborts} processes aborted by V8 itself`] : []),
    ...report.wrong.map((text) => `WRONG ${text}`),
    report.wrong.length === 0
      ? "nothing acknowledged was lost, nothing is there twice, no damage, nothing grows"
      : `${report.wrong.length} things are WRONG; the world is kept`,
    "",
  ].join("\n");
}
