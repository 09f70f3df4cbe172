/**
 * Which calls need no interleaving. A call that nothing which the others may still do depends on, and that
 * depends on nothing of it, gives the same whether it happens now or later: it happens now, and the orders in which
 * it happens later are left out (a persistent set of one actor; states never come back, so nobody is forgotten).
 */
import type { Resource, Touch } from "./call.ts";
import type { LocalState, Role } from "./local-states.ts";

type Access = "none" | "reads" | "writes";
type Rights = Readonly<Partial<Record<Resource, Access>>>;

/** What a role may touch at all; bundles and objects of versions are told by {@link meetsObject}. */
const RIGHTS: Readonly<Record<Role, Rights>> = {
  writer: { head: "writes", runs: "writes", "run-id": "writes", hints: "writes", guard: "writes" },
  deleter: {
    pointer: "reads",
    head: "writes",
    runs: "writes",
    "run-id": "writes",
    hints: "writes",
    guard: "writes",
  },
  compactor: {
    pointer: "writes",
    head: "writes",
    runs: "reads",
    applied: "writes",
    lease: "writes",
    hints: "writes",
  },
  rollback: {
    pointer: "writes",
    head: "writes",
    runs: "reads",
    applied: "writes",
    lease: "writes",
    hints: "writes",
    versions: "writes",
  },
  collector: {
    pointer: "writes",
    head: "writes",
    runs: "reads",
    "run-id": "writes",
    applied: "writes",
    lease: "writes",
    hints: "writes",
    versions: "writes",
  },
  pin: { pointer: "reads", versions: "writes" },
};

/** What an actor may still do to a resource. */
function accessOf(role: Role, { past }: LocalState, what: Resource, excludes: boolean): Access {
  const access = RIGHTS[role][what] ?? "none";
  if (access !== "writes") return access;
  // After its second look a collector fences no more.
  const done = role === "collector" && past.looks >= 2;
  if (what === "pointer" && (past.flipped || done)) return "reads";
  if (done && (what === "lease" || what === "hints")) return "none";
  if (done && what === "applied") return "reads";
  const flips = role === "compactor" || role === "collector";
  if (what === "head" && flips && !excludes) return "reads";
  return access;
}

/** True when what `touch` does to an object may matter to the other, or the other way round. */
function meetsObject(touch: Touch, role: Role, { past }: LocalState): boolean {
  const isBundle = touch.key.includes("/deltas/");
  if (role === "collector" && !touch.writes) {
    return touch.what === "folder" || past.listed === undefined || past.listed.has(touch.key);
  }
  const deletesOrLists = touch.what === "folder" || touch.writes;
  if (role === "pin") return touch.writes && !isBundle;
  if (role === "writer") return deletesOrLists && (isBundle || touch.what === "folder");
  return deletesOrLists;
}

export interface Context {
  /** Some compaction may exclude runs, and so announce it in HEAD. */
  readonly excludes: boolean;
  readonly headSequence: number;
}

function meets(
  touch: Touch,
  isDelete: boolean,
  role: Role,
  other: LocalState,
  { excludes, headSequence }: Context,
): boolean {
  if (touch.what === "config") return false;
  // A hint says no more when it is sent twice; who takes one does so before all else.
  if (touch.what === "hints" && !touch.key) return other.call?.name === "hints.receive";
  if (touch.what === "plan") return role === "collector";
  if (touch.what === "object" || touch.what === "folder") {
    // Whoever puts an object has a key of its own: only a collector can see it before it is named.
    const isOwnPut = touch.writes && !isDelete;
    return isOwnPut
      ? role === "collector" &&
          (other.past.listed === undefined || other.past.listed.has(touch.key))
      : meetsObject(touch, role, other);
  }
  // A page of runs that are all there already never changes.
  if (touch.what === "runs" && !touch.writes && (touch.through ?? Infinity) <= headSequence) {
    return false;
  }
  const access = accessOf(role, other, touch.what, excludes);
  return touch.writes ? access !== "none" : access === "writes";
}

/** True when the call of an actor may happen at once, whatever the others will do. */
export function isSafe(
  actor: number,
  at: readonly LocalState[],
  roles: readonly Role[],
  context: Context,
): boolean {
  const { call } = at[actor] as LocalState;
  if (call === undefined) return false;
  const isDelete = call.detail.kind === "delete";
  for (let other = 0; other < at.length; other++) {
    const state = at[other] as LocalState;
    if (other === actor || state.call === undefined) continue;
    for (const touch of call.touches) {
      if (meets(touch, isDelete, roles[other] as Role, state, context)) return false;
    }
  }
  return true;
}
