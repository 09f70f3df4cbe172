/**
 * The exhaustive model: the real protocol, driven through every interleaving within a bound, crashes at any point
 * (an actor that never gets its turn again), lost requests and answers, leases that run out.
 */
import { CONFIGURATIONS, type Configuration, explore } from "@silt/testkit";
import { describe, expect, it } from "vitest";
import {
  abandonNothing,
  announceNothing,
  bent,
  flipOverAnything,
  hintNothing,
  pinNothing,
} from "./bent-ports.ts";
import { configurationOf, GATE } from "./bounds.ts";
import { formatFound } from "./format-report.ts";

/** The same configuration with some of its actors alone. */
function withActors(configuration: Configuration, names: readonly string[]): Configuration {
  return {
    ...configuration,
    actors: (prepared) => configuration.actors(prepared).filter(({ name }) => names.includes(name)),
  };
}

describe("explore() finds no broken invariant", () => {
  for (const { configuration, limits, statesMin } of GATE) {
    const { faults, steals, switches, late } = limits;
    const order = Number.isFinite(switches) ? `${switches} switches` : "any order";
    const bound = `${faults}${late === true ? " late" : ""} faults, ${steals} expiries, ${order}`;
    it(`I1 I2 I4 I6 I7 ${configuration.name}: ${bound}`, async () => {
      const report = await explore(configuration, limits);
      expect(formatFound(report)).toBe("");
      expect(report.complete).toBe(true);
      expect(report.settled).toBeGreaterThan(0);
      expect(report.states).toBeGreaterThanOrEqual(statesMin);
    });
  }

  it("every configuration is explored", () => {
    const explored = new Set(GATE.map(({ configuration }) => configuration));
    expect([...explored]).toEqual(CONFIGURATIONS);
  });
});

describe("the orders that explore() leaves out make no difference", () => {
  const ALL = { faults: 0, steals: 1, switches: Number.POSITIVE_INFINITY, endings: true };
  const PAIRS: readonly (readonly [string, readonly string[]])[] = [
    ["heart", ["writer-1", "collector"]],
    ["heart", ["compactor-1", "collector"]],
    ["heart", ["writer-1", "compactor-1", "collector"]],
    ["heart", ["writer-1", "compactor-1", "compactor-2"]],
    ["rollback-collector", ["operator", "collector"]],
    ["rollback-collector", ["operator", "compactor-1"]],
    ["pin-collector", ["operator", "collector-1"]],
    ["rollback-delete", ["operator", "deleter"]],
  ];
  for (const [name, actors] of PAIRS) {
    it(`${name}: ${actors.join(", ")}`, async () => {
      const configuration = withActors(configurationOf(name), actors);
      const reduced = await explore(configuration, { ...ALL, settleOneIn: 1_000 });
      const whole = await explore(configuration, { ...ALL, settleOneIn: 1_000, reduced: false });
      expect(formatFound(whole)).toBe("");
      expect(whole.complete && reduced.complete).toBe(true);
      expect(whole.states).toBeGreaterThan(reduced.states);
      expect(reduced.endings).toEqual(whole.endings);
    });
  }
});

describe("explore() finds", () => {
  const limits = { faults: 0, steals: 1, switches: 2, settleOneIn: 32 };

  it("I4 F4 a flip without If-Match, by its shortest trace", async () => {
    const configuration = bent(
      configurationOf("writers-compactors"),
      ["compactor"],
      flipOverAnything,
    );
    const { found } = await explore(configuration, limits);
    expect(found?.invariant).toBe("I4");
    expect(found?.trace.at(-1)).toContain("objects.put latest-pointer.json");
  });

  it("I6 F50 an orphan that is collected while its writer sleeps", async () => {
    const configuration = bent(configurationOf("heart"), ["collector"], abandonNothing);
    const { found } = await explore(configuration, { ...limits, steals: 0, switches: 1 });
    expect(found?.invariant).toBe("I6");
    expect(found?.trace.at(-1)).toContain("objects.delete deltas/");
  });

  it("I6 a rollback that does not pin its target (rule 2)", async () => {
    const configuration = bent(configurationOf("rollback-collector"), ["rollback"], pinNothing);
    const { found } = await explore(configuration, limits);
    expect(found?.invariant).toMatch(/I1|I6/);
  });

  it("I2 an exclusion that is not announced to a delete by filter (rule 7)", async () => {
    const configuration = bent(configurationOf("rollback-delete"), ["rollback"], announceNothing);
    const { found } = await explore(configuration, limits);
    expect(found?.message).toContain("a delete by filter removes");
  });

  it("I7 F59 a compactor that tells nobody of what is left", async () => {
    const configuration = bent(configurationOf("writers-compactors"), ["compactor"], hintNothing);
    const { found } = await explore(configuration, limits);
    expect(found?.invariant).toBe("I7");
  });
});
