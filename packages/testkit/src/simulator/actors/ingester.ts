/**
 * Ingesters: an event carries only a source's name, twice, late or out of order. Guard and source are read,
 * in this order, and what the source became is registered on condition that the guard is unchanged.
 */
import {
  type CollectionIdentity,
  encodeEmbedding,
  type Guard,
  type Ports,
  publishDelta,
  type RegisteredRun,
  type Row,
  type RunDraft,
  readCurrent,
  registerRuns,
  type SegmentContent,
  type ShardRef,
  shardOfKey,
  shardRefs,
} from "@silt/core";
import type { Actor } from "../actor.ts";
import type { Simulation } from "../simulation.ts";
import { demand } from "../violation.ts";
import { attempt } from "./operation.ts";
import { acknowledge } from "./writer.ts";

export const FAMILY = "pictures";
export const SOURCES = ["s3://pictures/a.png", "s3://pictures/b.png"] as const;
const PAUSE_MS_MAX = 4_000;
const CHANGE_CHANCE = 0.5;
const EXTRA_EVENT_CHANCE = 0.2;
const ATTEMPTS_MAX = 5;

/** A source as it is: what each collection gets of it. */
export interface SourceState {
  readonly digest: string;
  /** Rows in each collection. */
  readonly counts: readonly number[];
}

export async function ingester(sim: Simulation, actor: Actor): Promise<void> {
  const { random } = actor;
  while (actor.operationsLeft > 0) {
    actor.operationsLeft -= 1;
    await sim.think(actor, PAUSE_MS_MAX);
    if (random.chance(CHANGE_CHANCE)) sim.sources.change(random.pick(SOURCES), random);
    const uri = random.chance(EXTRA_EVENT_CHANCE)
      ? random.pick(SOURCES)
      : (sim.sources.takeEvent() ?? random.pick(SOURCES));
    await ingest(sim, actor, uri);
  }
}

/** Brings the log up to the source as it is now. */
export async function ingest(sim: Simulation, actor: Actor, uri: string): Promise<void> {
  await attempt(sim, actor, "ingest", async () => {
    for (let number = 1; number <= ATTEMPTS_MAX; number++) {
      const outcome = await ingestOnce(sim, actor, uri);
      sim.count(`ingest: ${outcome}`);
      if (outcome === "done" || outcome === "unchanged") return;
    }
  });
}

async function ingestOnce(
  sim: Simulation,
  actor: Actor,
  uri: string,
): Promise<"done" | "unchanged" | "guard-moved" | "abandoned"> {
  const { ports } = actor;
  const guard = await ports.log.readGuard({ uri, family: FAMILY });
  const source = await sim.sources.read(actor, uri);
  const digest = source?.digest ?? null;
  const stands = guard === undefined || (await runsStand(sim, ports, guard));
  if ((guard?.sourceDigest ?? null) === digest && stands) return "unchanged";
  const drafts: RunDraft[] = [];
  await using workbench = await ports.engine.openWorkbench();
  for (const [index, identity] of sim.identities.entries()) {
    const count = source?.counts[index] ?? 0;
    const { collection } = identity;
    const had = guard?.runs.some((run) => run.collection === collection) === true;
    if (count === 0 && !had) continue;
    const owner = { ...shardOf(identity, uri), vectors: identity.vectors };
    const content = contentOf(uri, digest, count);
    drafts.push(await publishDelta(ports, workbench, owner, content, { source: uri }));
  }
  const outcome = await registerRuns(ports, drafts, {
    guards: (runs) => [
      { expectedRev: guard?.rev ?? 0, next: nextGuard(sim, uri, digest, guard, runs) },
    ],
  });
  if (outcome.outcome !== "registered") {
    demand(outcome.outcome !== "head-moved", "ERR", "a write without condition met one");
    return outcome.outcome;
  }
  for (const identity of sim.identities) {
    acknowledge(
      sim,
      identity,
      outcome.runs.filter(({ collection }) => collection === identity.collection),
    );
  }
  return "done";
}

/** The shard that everything of a source lies in. */
export function shardOf(identity: CollectionIdentity, uri: string): ShardRef {
  const name = shardOfKey(uri, identity.shards);
  return shardRefs(identity).find(({ shard }) => shard === name) as ShardRef;
}

/** All of a source in one collection: its earlier records go. */
function contentOf(uri: string, digest: string | null, count: number): SegmentContent {
  const rows = new Map<string, Row>();
  for (let index = 0; index < count; index++) {
    const id = `${uri}#${index}`;
    rows.set(id, {
      operation: "put",
      id,
      parent: uri,
      embedding: encodeEmbedding([1, index]),
      document: digest,
      // No filter of the writers deletes them: only the source says what is there.
      metadata: { seen: true },
      sequence: 0,
    });
  }
  return { rows, replaced: new Map([[uri, 0]]) };
}

function nextGuard(
  sim: Simulation,
  uri: string,
  sourceDigest: string | null,
  guard: Guard | undefined,
  registered: readonly RegisteredRun[],
): Guard {
  return {
    format: 1,
    requires: [],
    uri,
    family: FAMILY,
    rev: (guard?.rev ?? 0) + 1,
    sourceDigest,
    pipelineId: "simulated-1",
    runs: registered.map(({ collection, shard, runId, sequence }) => {
      const identity = sim.identities.find((one) => one.collection === collection);
      return { collection, storeId: identity?.storeId ?? "", shard, runId, sequence };
    }),
    failure: null,
    root: null,
  };
}

/** True unless one of a guard's runs was excluded and did not come back. */
async function runsStand(sim: Simulation, ports: Ports, guard: Guard): Promise<boolean> {
  for (const { collection, storeId, shard, sequence } of guard.runs) {
    const ref = { collection, storeId, shard };
    if (!sim.shards.some((known) => known.collection === collection)) continue;
    const { manifest } = await readCurrent(ports.objects, ref);
    const { excluded } = manifest;
    if (excluded.some(({ from, to }) => from <= sequence && sequence <= to)) return false;
  }
  return true;
}
