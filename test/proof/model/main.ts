/**
 * `npm run explore`: every interleaving of the real protocol, in small configurations, within a bound. Without
 * limits it does what the gate does. Exit code 1 when an invariant was broken; the shortest trace is printed.
 */
import { parseArgs } from "node:util";
import { CONFIGURATIONS, type ExploreReport, explore, type Limits } from "@silt/testkit";
import { configurationOf, GATE } from "./bounds.ts";
import { formatFound, formatTable } from "./format-report.ts";

const USAGE = `npm run explore -- [--config NAME] [--json]
npm run explore -- [--config NAME] --faults N [--late] --expiries N --switches N|any [--seconds S] [--settle N]
  --config NAME     one of ${CONFIGURATIONS.map(({ name }) => name).join(", ")}
  --faults N        requests that are lost, before or after they are carried out, or repeated (0)
  --late            lost requests may also land at any later time
  --expiries N      leases that run out while their holder works (0)
  --switches N|any  how often an actor that could go on is made to wait (any)
  --seconds S       stop after so long (60)
  --settle N        one of N worlds is left to who comes after (32)
`;

const { values } = parseArgs({
  options: {
    config: { type: "string" },
    faults: { type: "string" },
    late: { type: "boolean", default: false },
    expiries: { type: "string" },
    switches: { type: "string" },
    seconds: { type: "string" },
    settle: { type: "string", default: "32" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

/** The limits that were asked for; undefined when none was. */
function askedLimits(): Limits | undefined {
  const { faults, expiries, switches, seconds } = values;
  if ([faults, expiries, switches, seconds].every((value) => value === undefined)) return undefined;
  return {
    faults: Number(faults ?? 0),
    steals: Number(expiries ?? 0),
    switches:
      switches === undefined || switches === "any" ? Number.POSITIVE_INFINITY : Number(switches),
    late: values.late,
    seconds: Number(seconds ?? 60),
    settleOneIn: Number(values.settle),
  };
}

async function run(): Promise<readonly ExploreReport[]> {
  const asked = askedLimits();
  const chosen = values.config === undefined ? CONFIGURATIONS : [configurationOf(values.config)];
  const bounds =
    asked === undefined
      ? GATE.filter(({ configuration }) => chosen.includes(configuration))
      : chosen.map((configuration) => ({ configuration, limits: asked }));
  const reports: ExploreReport[] = [];
  for (const { configuration, limits } of bounds) {
    process.stderr.write(`${configuration.name}: ${configuration.about} …\n`);
    reports.push(await explore(configuration, limits));
  }
  return reports;
}

if (values.help) process.stdout.write(USAGE);
else {
  const reports = await run();
  if (reports.some(({ found }) => found !== undefined)) process.exitCode = 1;
  const text = formatTable(reports) + reports.map(formatFound).join("");
  process.stdout.write(values.json ? `${JSON.stringify(reports, null, 2)}\n` : text);
}
