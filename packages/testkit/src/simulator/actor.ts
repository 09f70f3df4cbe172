/** An actor: one simulated process. Its code is real; what it calls are simulated ports. */
import type { Ports } from "@silt/core";
import type { SeededRandom } from "../seeded-random.ts";

export const ROLES = [
  "writer",
  "ingester",
  "compactor",
  "sweeper",
  "collector",
  "reader",
  "operator",
] as const;
export type Role = (typeof ROLES)[number];

export interface Actor {
  readonly index: number;
  readonly role: Role;
  /** E.g. `writer-1`. */
  readonly name: string;
  /** What it does is drawn from here; never what happens to it. */
  readonly random: SeededRandom;
  /** What happens to it: one draw a call, so that a fault can be taken away and the rest stays. */
  readonly fate: SeededRandom;
  readonly ports: Ports;
  /** Raised by each crash: steps of earlier lives never run. */
  life: number;
  state: "running" | "down" | "done";
  /** Nothing of it runs before this time: a frozen process, a laptop that sleeps. */
  pausedUntilMs: number;
  /** What its own clock shows beyond the true time. */
  clockOffsetMs: number;
  /** Higher goes first, where the scheduler looks at it. */
  priority: number;
  /** Operations that it still may begin. */
  operationsLeft: number;
  /** Calls of its whole life, for the sleeps that its plan has. */
  callsEver: number;
  /** Versions that the operation at work has stored manifests for. */
  readonly attempts: Set<string>;
  /** Calls since the present operation began, and faults that it met: for budgets (I8). */
  calls: number;
  bytes: number;
  faultsMet: number;
}
