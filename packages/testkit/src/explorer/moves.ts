/** The states of an exploration, what can happen in each, and what it leads to. */
import { SiltError } from "@silt/core";
import type { Call, Step } from "./call.ts";
import type { Limits } from "./configuration.ts";
import { isSafe } from "./independence.ts";
import type { LeaseCalls } from "./lease-calls.ts";
import type { LocalState, Role } from "./local-states.ts";
import { mix, type World } from "./world.ts";

/** A request that its sender has given up, and that may still arrive. */
export interface Ghost {
  readonly actor: number;
  readonly state: LocalState;
  readonly call: Call;
}

export interface State {
  readonly world: World;
  readonly at: readonly LocalState[];
  /** Whose turn it was; -1 when that one has ended, or when turns are not counted. */
  readonly running: number;
  readonly switches: number;
  readonly faults: number;
  readonly steals: number;
  readonly ghosts: readonly Ghost[];
}

export type Fate =
  | "done"
  /** The request never arrives. */
  | "request lost"
  /** It is carried out, but nobody hears of it. */
  | "answer lost"
  /** It is carried out twice, as by an SDK's retry; the second answer counts. */
  | "repeated"
  /** The sender gives up, but it may arrive at any later time. */
  | "late"
  /** The lease runs out before this request for it. */
  | "lease expired"
  /** A late request arrives. */
  | "arrives";

export interface Move {
  readonly actor: number;
  readonly fate: Fate;
  /** Of `arrives`: which of the late requests. */
  readonly ghost: number;
  readonly isSafe: boolean;
}

export interface Rules {
  readonly roles: readonly Role[];
  readonly limits: Limits;
  readonly excludes: boolean;
  readonly headSequence: (world: World) => number;
}

/** Everything that can happen in a state; one actor's moves alone where those need no interleaving. */
export function movesOf(state: State, rules: Rules): readonly Move[] {
  const { at, ghosts } = state;
  const { roles, excludes } = rules;
  const context = { excludes, headSequence: rules.headSequence(state.world) };
  if (ghosts.length === 0 && rules.limits.reduced !== false) {
    for (let actor = 0; actor < at.length; actor++) {
      if (isSafe(actor, at, roles, context)) return movesOfActor(state, actor, rules, true);
    }
  }
  // Whose turn it is comes first: so most states are reached by few switches at once.
  const moves = state.running === -1 ? [] : [...movesOfActor(state, state.running, rules, false)];
  for (let actor = 0; actor < at.length; actor++) {
    if (actor !== state.running) moves.push(...movesOfActor(state, actor, rules, false));
  }
  const arriving = ghosts.map(
    ({ actor }, ghost): Move => ({ actor, fate: "arrives", ghost, isSafe: true }),
  );
  return [...moves, ...arriving];
}

function movesOfActor(
  state: State,
  actor: number,
  { limits }: Rules,
  safe: boolean,
): readonly Move[] {
  const { call } = state.at[actor] as LocalState;
  if (call === undefined) return [];
  if (!safe && state.switches + costOf(state, actor) > limits.switches) return [];
  const move = (fate: Fate): Move => ({ actor, fate, ghost: -1, isSafe: safe });
  const moves = [move("done")];
  if (call.detail.kind === "acquire" && state.steals < limits.steals)
    moves.push(move("lease expired"));
  if (state.faults >= limits.faults) return moves;
  moves.push(move("request lost"));
  if (!call.touches.some(({ writes }) => writes)) return moves;
  moves.push(move("answer lost"), move("repeated"));
  if (limits.late === true) moves.push(move("late"));
  return moves;
}

/** A switch is paid for when another one could go on. */
const costOf = ({ running }: State, actor: number): number =>
  running === -1 || running === actor ? 0 : 1;

const unavailable: Pick<Step<unknown>, "answer" | "value"> = {
  answer: "!unavailable",
  value: () => {
    throw new SiltError("unavailable", "Cannot reach the store: the request timed out");
  },
};

export interface Outcome {
  readonly call: Call;
  readonly world: World;
  /** What the actor gets; undefined when nobody waits for it. */
  readonly answer: string | undefined;
  readonly value: () => unknown;
}

/** What a move does; undefined when it is the same as another. */
export function carryOut(state: State, move: Move, leases: LeaseCalls): Outcome | undefined {
  const { world } = state;
  if (move.fate === "arrives") {
    const { call } = state.ghosts[move.ghost] as Ghost;
    return { call, ...call.apply(world), answer: undefined };
  }
  const call = (state.at[move.actor] as LocalState).call as Call;
  switch (move.fate) {
    case "request lost":
    case "late":
      return { call, world, ...unavailable };
    case "answer lost": {
      const step = call.apply(world);
      // As if the request had been lost.
      return step.world === world ? undefined : { call, world: step.world, ...unavailable };
    }
    case "repeated": {
      const first = call.apply(world);
      const second = call.apply(first.world);
      const same = first.answer === second.answer && first.world === second.world;
      return same ? undefined : { call, ...second };
    }
    case "lease expired": {
      const { detail } = call;
      const later = detail.kind === "acquire" ? leases.expired(world, detail.shard) : world;
      return later === world ? undefined : { call, ...call.apply(later) };
    }
    default:
      return { call, ...call.apply(world) };
  }
}

/** The state after a move, when the actor has got to `local`. */
export function stateAfter(
  state: State,
  move: Move,
  world: World,
  local: LocalState | undefined,
  limits: Limits,
): State {
  const { actor, fate, ghost } = move;
  const before = state.at[actor] as LocalState;
  const at = local === undefined ? state.at : state.at.with(actor, local);
  const isFault = fate !== "done" && fate !== "arrives" && fate !== "lease expired";
  const counts = limits.switches !== Number.POSITIVE_INFINITY;
  const turn = move.isSafe ? state.running : actor;
  const running = counts && turn !== -1 && at[turn]?.call !== undefined ? turn : -1;
  let { ghosts } = state;
  if (fate === "late") ghosts = [...ghosts, { actor, state: before, call: before.call as Call }];
  if (fate === "arrives") ghosts = ghosts.filter((_, index) => index !== ghost);
  return {
    world,
    at,
    running,
    switches: state.switches + (move.isSafe ? 0 : costOf(state, actor)),
    faults: state.faults + (isFault ? 1 : 0),
    steals: state.steals + (fate === "lease expired" ? 1 : 0),
    ghosts,
  };
}

/** 64 bits of hash over everything that decides what can still happen, but for the switches paid so far. */
export function fingerprintOf(state: State): { readonly low: number; readonly high: number } {
  let { low, high } = state.world;
  const add = (part: number, value: number) => {
    low ^= mix(Math.imul(part + 1, 0x9e3779b1) + value);
    high ^= mix(Math.imul(value + 0x51ed, 0xc2b2ae35) ^ mix(part + 77));
  };
  for (let actor = 0; actor < state.at.length; actor++) {
    add(actor, (state.at[actor] as LocalState).id);
  }
  add(100, state.running);
  add(101, state.faults);
  add(102, state.steals);
  for (const ghost of state.ghosts) add(200 + ghost.actor, ghost.state.id);
  return { low, high };
}
