/** What is explored: a store to begin with, and who works on it. */
import type { CollectionIdentity, Policy, Ports, ShardRef } from "@silt/core";
import type { Checker } from "./checker.ts";
import type { Program } from "./local-states.ts";
import type { World } from "./world.ts";

/** A store as the actors find it. */
export interface Prepared {
  readonly identity: CollectionIdentity;
  readonly policy: Policy;
  readonly shard: ShardRef;
}

export interface Bench {
  /** Ports by which everything happens at once. */
  readonly ports: Ports;
  /** Puts other bytes in the place of an object. */
  readonly damage: (key: string) => void;
}

export interface Configuration {
  readonly name: string;
  readonly about: string;
  readonly prepare: (bench: Bench) => Promise<Prepared>;
  readonly actors: (prepared: Prepared) => readonly Program[];
  /** True when runs may be excluded, by a rollback or as poison. */
  readonly excludes: boolean;
  /** One more demand, at each registration. */
  readonly onCommit?: (checker: Checker, before: World, after: World) => void;
}

export interface Limits {
  /** Requests that may be lost, before or after they were carried out, repeated, or land late; in one execution. */
  readonly faults: number;
  /** Leases that may be taken from a holder that is still at work, or dead. */
  readonly steals: number;
  /** How often an actor that could go on is made to wait for another; Infinity: any order. */
  readonly switches: number;
  /** Lost requests may still land, at any later time. */
  readonly late?: boolean;
  /** False: also the orders that are known to make no difference. */
  readonly reduced?: boolean;
  /** Also tell the worlds in which executions end. */
  readonly endings?: boolean;
  /** One of so many worlds is left to who comes after. */
  readonly settleOneIn?: number;
  readonly seconds?: number;
}
