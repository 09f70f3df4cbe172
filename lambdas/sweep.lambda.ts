/**
 * What a schedule runs:
 *  1. repair what was forgotten, and hint at what waits
 *  2. say how every shard is doing, for the alarms
 *  3. asked by its event, collect what nothing needs, for as long as there is time
 * Each time in another order, so that those that a lack of time leaves out are not always the same.
 * The invocation fails at the end when something is damaged.
 */
import { listCollections, type Ports, SiltError } from "@silt/core";
import { deadlineOf } from "./deadline.ts";
import type { Env } from "./env.ts";
import { openEnvPorts } from "./open-env-ports.ts";
import { shuffled } from "./sweep-order.ts";
import { type SweepFailure, SweepRound } from "./sweep-round.ts";
import { type Handle, lambda, once, type Wiring } from "./wiring.ts";

export interface SweepWiring extends Pick<Wiring, "logger" | "metrics"> {
  readonly env: Pick<Env, "marginMs">;
  readonly ports: () => Promise<Ports>;
}

export interface SweepAnswer {
  readonly collections: number;
  readonly shards: number;
  readonly hinted: number;
  readonly stuck: number;
  readonly deleted: number;
  /** Collections that the collector has looked through. */
  readonly collected: number;
}

export interface SweepEvent {
  /** A round of the collector lists every shard: each sweep's would cost more than all the rest of an idle month. */
  readonly collect?: boolean;
}

export function createSweepHandler(wiring: SweepWiring): Handle<SweepEvent | null, SweepAnswer> {
  const { logger, metrics } = wiring;
  return async (event, context) => {
    const collect = event?.collect === true;
    using deadline = deadlineOf(context, wiring.env.marginMs);
    const { signal } = deadline;
    const ports = await wiring.ports();
    const holder = `sweep/${context.awsRequestId}`;
    const round = new SweepRound({ ports, holder, signal, logger, metrics });
    const names = shuffled(await listCollections(ports), ports.random);
    const opened = await round.open(names);
    for (const each of opened) await round.repair(each);
    for (const each of opened) await round.measure(each);
    let collected = 0;
    for (const each of collect ? opened : []) {
      if (signal.aborted || !(await round.collect(each))) break;
      collected += 1;
    }
    const answer = { collections: names.length, ...round.counts, collected };
    logger.log("info", "swept", answer);
    throwIfAlarming(round.alarming);
    return answer;
  };
}

function throwIfAlarming(failures: readonly SweepFailure[]): void {
  const [first] = failures;
  if (first === undefined) return;
  const { kind, message } = first;
  const told = `Cannot sweep all shards: ${failures.length} failed, the first: ${message}`;
  throw new SiltError(kind, told);
}

export const handler = lambda<SweepEvent | null, SweepAnswer>((wiring) => {
  const ports = once(() => openEnvPorts(wiring.env, wiring, { create: true }));
  return createSweepHandler({ ...wiring, ports });
});
