import { isSiltError } from "@silt/core";
import type { Program } from "./local-states.ts";
import type { Move, Outcome, State } from "./moves.ts";

const SHOWN_MAX = 110;

/** Keys without what all of them share, ids without what nobody tells apart. */
function brief(text: string): string {
  return text
    .replaceAll(/collections\/[^/]+\/[0-9a-f]+\/shards\/[^/]+\//g, "")
    .replaceAll(/collections\/[^/]+\//g, "")
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{6}([0-9a-f]{6})/g, "…$1")
    .replaceAll(/\b([0-9a-f]{6})[0-9a-f]{10,58}\b/g, "$1…");
}

function resultOf({ answer, value }: Outcome): string {
  if (answer === undefined) return "";
  try {
    const result = value();
    if (result === undefined) return "done";
    const outcome = result as { outcome?: unknown; version?: unknown; sequence?: unknown };
    if (typeof outcome.outcome === "string") return outcome.outcome;
    return brief(JSON.stringify(result)).slice(0, SHOWN_MAX);
  } catch (error) {
    return isSiltError(error) ? error.kind : "fails";
  }
}

/** One move for a person to read. */
export function lineOf(
  actors: readonly Program[],
  _state: State,
  move: Move,
  outcome: Outcome,
): string {
  const name = (actors[move.actor]?.name ?? "").padEnd(12);
  const { call } = outcome;
  const fate = move.fate === "done" ? "" : ` [${move.fate}]`;
  return `${name} ${call.name} ${brief(call.about)}${fate} -> ${resultOf(outcome)}`.trimEnd();
}
