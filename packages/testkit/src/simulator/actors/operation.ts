/** One operation of an actor, and whether what came of it is legal. */
import { isSiltError, reasonOf, type SiltErrorKind } from "@silt/core";
import type { Actor } from "../actor.ts";
import type { Simulation } from "../simulation.ts";
import { demand, Violation } from "../violation.ts";

/** Runs an operation; undefined when it failed in a way that what happened so far explains. */
export async function attempt<T>(
  sim: Simulation,
  actor: Actor,
  name: string,
  operation: () => Promise<T>,
  legal: readonly SiltErrorKind[] = [],
): Promise<T | undefined> {
  actor.calls = 0;
  actor.bytes = 0;
  actor.faultsMet = 0;
  const objects = sim.objects.stored.size;
  sim.note(actor, () => `— ${name}`);
  try {
    const result = await operation();
    checkBudget(sim, actor, name, objects);
    sim.count(name);
    return result;
  } catch (error) {
    if (error instanceof Violation) throw error;
    judge(sim, actor, name, error, legal);
    sim.note(actor, () => `— ${name} failed: ${reasonOf(error)}`);
    return undefined;
  }
}

/** Port calls that an operation may need beside those that its input asks for, whoever else is at work. */
const CALLS_BASE = 60;
/** And for each run, version and leftover that there is. */
const CALLS_EACH = 4;
/**
 * What decides again while others are faster, or goes on while runs come; a collector looks twice, and may
 * fence in between.
 */
const ROUNDS_MAX: Readonly<Record<string, number>> = {
  compact: 4,
  "delete where": 10,
  retry: 10,
  collect: 3,
};

/**
 * I8: an operation that met no fault asks the stores a number of times that what is there bounds, also
 * when others get in between.
 */
function checkBudget(sim: Simulation, actor: Actor, name: string, before: number): void {
  if (actor.faultsMet > 0) return;
  const things = Math.max(before, sim.objects.stored.size);
  const callsMax = (ROUNDS_MAX[name] ?? 1) * (CALLS_BASE + CALLS_EACH * things);
  demand(
    actor.calls <= callsMax,
    "I8",
    () => `${name} made ${actor.calls} calls, ${callsMax} were to be expected of ${things} objects`,
  );
}

function judge(
  sim: Simulation,
  actor: Actor,
  name: string,
  error: unknown,
  legal: readonly SiltErrorKind[],
): void {
  const why = isSiltError(error) && legal.includes(error.kind) ? undefined : whyIllegal(sim, error);
  if (isSiltError(error)) sim.count(`failed: ${error.kind}`);
  if (name === "roll back" && isSiltError(error, "invalid")) sim.count("refused rollbacks");
  if (why === undefined) return;
  const kind = isSiltError(error) ? error.kind : "no SiltError";
  throw Object.assign(
    new Violation("ERR", `${actor.name} ${name}: ${kind} ${reasonOf(error)}: ${why}`),
    {
      cause: error,
    },
  );
}

/**
 * A collector without grace takes what a sleeper, or a slow writer, is about to register or flip; and
 * two of them take each other's plans away.
 */
const isTroubled = ({ faults, totals, actors }: Simulation): boolean =>
  faults > 0 ||
  (totals.abandoned ?? 0) > 0 ||
  (totals["long sleeps"] ?? 0) > 0 ||
  actors.filter(({ role }) => role === "collector").length > 1;

/** Why an error must not be; undefined when it may. */
function whyIllegal(sim: Simulation, error: unknown): string | undefined {
  if (!isSiltError(error)) return "every failure has a kind";
  const reasons: Readonly<Partial<Record<SiltErrorKind, string>>> = {
    internal: "a broken assumption",
    invalid: "nothing was asked that cannot be",
    ...(sim.weather.everHurt ? {} : { corrupt: "nothing was damaged, lost or hidden" }),
    ...(isTroubled(sim) ? {} : { unavailable: "nothing went wrong" }),
  };
  return reasons[error.kind];
}
