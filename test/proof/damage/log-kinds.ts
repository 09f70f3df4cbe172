/** The kinds of rows of the log. One entry a table. */
import { join } from "node:path";
import type { DamagedKind } from "./damage-case.ts";
import type { LocalDamageWorld } from "./damage-world.ts";
import { type DamagedTable, rowCases } from "./row-cases.ts";

interface TableKind extends Omit<DamagedTable, "log" | "olderLog"> {
  readonly name: string;
  readonly object: RegExp;
  readonly kinds: RegExp;
  readonly shared?: true;
}

const LOG_KINDS = /^(log-|head-missing$|run-|guard-damaged$|flip-not-noted$|pointer-outdated$)/;

/** Every table of the log. */
const TABLES: readonly TableKind[] = [
  {
    name: "log row: HEAD",
    table: "heads",
    key: ["partition"],
    object: /^log: (HEAD of|rows of heads)/,
    kinds: LOG_KINDS,
  },
  {
    name: "log row: run",
    table: "runs",
    key: ["partition", "sequence"],
    json: "run",
    object: /^log: (runs? \d|rows of runs)/,
    kinds: LOG_KINDS,
  },
  {
    name: "log row: run id",
    table: "run_ids",
    key: ["partition", "run_id"],
    object: /^log: (run id |rows of run_ids)/,
    kinds: LOG_KINDS,
  },
  {
    name: "log row: APPLIED",
    table: "applied",
    key: ["partition"],
    object: /^log: (APPLIED of|rows of applied)/,
    kinds: LOG_KINDS,
  },
  {
    name: "log row: version",
    table: "versions",
    key: ["partition", "version", "commit_id"],
    json: "item",
    object: /^log: (version |rows of versions)/,
    kinds: LOG_KINDS,
  },
  {
    name: "log row: guard",
    table: "guards",
    key: ["family", "uri"],
    json: "guard",
    object: /^log: (guard of|rows of guards)/,
    kinds: LOG_KINDS,
  },
  {
    name: "log row: lease",
    table: "leases",
    key: ["partition"],
    object: /^log: (lease of|rows of leases)/,
    kinds: LOG_KINDS,
  },
  {
    name: "log row: hint",
    table: "hints",
    key: ["hint"],
    object: /^log: (hint|rows of hints)/,
    kinds: LOG_KINDS,
  },
  {
    name: "log row: meta",
    table: "meta",
    key: ["key"],
    object: /^log: (meta |rows of meta)/,
    kinds: LOG_KINDS,
    shared: true,
  },
  {
    name: "log row: sums",
    table: "sums",
    key: ["log_table"],
    object: /^log: (sums of|rows of)/,
    kinds: LOG_KINDS,
    shared: true,
  },
];

export function logKinds(world: LocalDamageWorld): readonly DamagedKind[] {
  const log = join(world.root, "log.sqlite");
  const olderLog = world.older.get("log.sqlite")?.at(-1);
  return TABLES.map(({ name, object, kinds, shared, ...table }) => ({
    name,
    detector: "verify",
    object,
    kinds,
    ...(shared && { shared }),
    cases: (random, places) => rowCases({ ...table, log, olderLog }, random, places),
  }));
}
