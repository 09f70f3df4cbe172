/** How far the gate explores each configuration, and how many states that was when it was measured. */
import { CONFIGURATIONS, type Configuration, type Limits } from "@silt/testkit";

export interface Bound {
  readonly configuration: Configuration;
  readonly limits: Limits;
  /** Fewer mean that less is covered than before: find out why, then measure anew. */
  readonly statesMin: number;
}

const ANY = Number.POSITIVE_INFINITY;
const SETTLE_ONE_IN = 32;

interface Row {
  readonly name: string;
  readonly faults: number;
  readonly steals: number;
  readonly switches: number;
  readonly late?: boolean;
  readonly statesMin: number;
}

const ROWS: readonly Row[] = [
  { name: "writers-compactors", faults: 0, steals: 1, switches: ANY, statesMin: 540_000 },
  { name: "writers-compactors", faults: 1, steals: 1, switches: 1, statesMin: 360_000 },
  { name: "heart", faults: 0, steals: 0, switches: 2, statesMin: 1_900_000 },
  { name: "heart", faults: 0, steals: 1, switches: 1, statesMin: 240_000 },
  { name: "heart", faults: 1, steals: 1, switches: 0, statesMin: 310_000 },
  { name: "three-compactors", faults: 0, steals: 2, switches: ANY, statesMin: 730_000 },
  { name: "three-compactors", faults: 1, steals: 1, switches: 1, statesMin: 265_000 },
  { name: "rollback-collector", faults: 0, steals: 1, switches: 2, statesMin: 80_000 },
  { name: "rollback-collector", faults: 1, steals: 1, switches: 1, late: true, statesMin: 350_000 },
  { name: "rollback-writer", faults: 0, steals: 1, switches: ANY, statesMin: 50_000 },
  { name: "rollback-writer", faults: 1, steals: 1, switches: 1, late: true, statesMin: 93_000 },
  { name: "pin-collector", faults: 0, steals: 0, switches: 2, statesMin: 128_000 },
  { name: "pin-collector", faults: 1, steals: 0, switches: 0, statesMin: 17_000 },
  { name: "rollback-delete", faults: 0, steals: 1, switches: 3, statesMin: 145_000 },
  { name: "rollback-delete", faults: 1, steals: 1, switches: 1, statesMin: 95_000 },
  { name: "poison-delete", faults: 0, steals: 1, switches: 2, statesMin: 80_000 },
  { name: "poison-delete", faults: 1, steals: 1, switches: 1, statesMin: 180_000 },
];

/** A configuration by its name; throws when there is none. */
export function configurationOf(name: string): Configuration {
  const found = CONFIGURATIONS.find((configuration) => configuration.name === name);
  if (found !== undefined) return found;
  const names = CONFIGURATIONS.map((configuration) => configuration.name).join(", ");
  throw new Error(
    `Cannot explore "${name}": there is no such configuration, expected one of ${names}`,
  );
}

export const GATE: readonly Bound[] = ROWS.map(({ name, statesMin, ...limits }) => ({
  configuration: configurationOf(name),
  limits: { ...limits, settleOneIn: SETTLE_ONE_IN },
  statesMin,
}));
