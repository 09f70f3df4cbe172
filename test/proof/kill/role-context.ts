/** What a role's process works with, and what it tells. */

import type { SeededRandom } from "@silt/testkit";
import type { Store } from "../../../packages/silt/src/index.ts";
import { journalPath, RoleJournal } from "./role-journal.ts";
import type { Phases } from "./watched-ports.ts";
import { readEpoch, slotFolder, type World } from "./world.ts";

/** A line of a role's standard output. */
export type RoleEvent =
  | { readonly ready: true }
  /** Something worth counting. */
  | { readonly did: string; readonly count?: number }
  /** It stops itself now, and must be woken. */
  | { readonly sleeps: string }
  /** A failure that Silt may have. */
  | { readonly error: string; readonly message: string }
  /** An answer that Silt must not give. */
  | { readonly wrong: string };

export interface RoleContext {
  readonly world: World;
  readonly slot: string;
  readonly store: Store;
  readonly random: SeededRandom;
  readonly phases: Phases;
  readonly say: (event: RoleEvent) => void;
}

/** Gets ready, which is work too, and gives what is done again and again until a kill. */
export type Role = (context: RoleContext) => Promise<() => Promise<void>>;

/** Silt gave a wrong answer: the test has failed. */
export class WrongError extends Error {}

/** Throws unless `claim` holds. */
export function expectThat(holds: boolean, claim: () => string): asserts holds {
  if (!holds) throw new WrongError(claim());
}

export function openRoleJournal({ world, slot }: RoleContext): RoleJournal {
  return new RoleJournal(journalPath(slotFolder(world, slot), readEpoch(world)));
}
