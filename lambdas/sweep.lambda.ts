/**
 * What a schedule runs:
 *  1. shard by shard, repair what was forgotten, hint at what waits, and say how it is doing, for the alarms
 *  2. asked by its event, collect what nothing needs, for as long as there is time
 * Each time in another order, of shards too, so that those that a lack of time leaves out are not always the same.
 * The invocation fails at the end when something is damaged, and when the time was up before a shard was looked at:
 * no alarm of the store rings for a shard that nobody tells about.
 */
import { listCollections, type Ports, SiltError } from "@silt/core";
import { formatCounted } from "../packages/silt/src/terminal/format-counted.ts";
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
    const round = new SweepRound({ ports, holder, deadline, logger, metrics });
    const names = shuffled(await listCollections(ports), ports.random);
    const opened = await round.open(names);
    await round.sweep(opened);
    let collected = 0;
    for (const each of collect ? opened : []) {
      if (signal.aborted || !(await round.collect(each))) break;
      collected += 1;
    }
    const answer = { collections: names.length, ...round.counts, collected };
    logger.log("info", "swept", answer);
    const late = whatIsLate(round);
    if (late !== undefined) logger.log("error", "not all shards were looked at", round.late);
    throwIfIncomplete(round.alarming, late);
    return answer;
  };
}

function whatIsLate({ counts, late }: SweepRound): string | undefined {
  const { shards, collections } = late;
  const told = [
    ...(shards > 0 ? [`${shards} of ${counts.shards + shards}`] : []),
    ...(collections > 0 ? [`the opening of ${formatCounted(collections, "collection")}`] : []),
  ];
  return told.length === 0 ? undefined : `time was up before ${told.join(" and ")}`;
}

/** Damage decides the kind: it needs a person, whereas the next sweep may have the time. */
function throwIfIncomplete(alarming: readonly SweepFailure[], late: string | undefined): void {
  const [first] = alarming;
  const told = late === undefined ? [] : [late];
  if (first !== undefined) told.push(`${alarming.length} failed, the first: ${first.message}`);
  if (told.length === 0) return;
  const kind = first?.kind ?? "unavailable";
  throw new SiltError(kind, `Cannot sweep all shards: ${told.join(", and ")}`);
}

export const handler = lambda<SweepEvent | null, SweepAnswer>((wiring) => {
  const ports = once(() => openEnvPorts(wiring.env, wiring, { create: true }));
  return createSweepHandler({ ...wiring, ports });
});
