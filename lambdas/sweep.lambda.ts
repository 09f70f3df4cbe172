/**
 * What a schedule runs. A shard that fails doesn't stop the others.
 *  1. repair what was forgotten, and hint at what waits
 *  2. say how every shard is doing, for the alarms
 *  3. collect what nothing needs, for as long as there is time; the next sweep goes on
 * The invocation fails at the end when something is damaged.
 */
import {
  isSiltError,
  listCollections,
  type OpenCollection,
  openCollection,
  type Ports,
  readShardStatus,
  reasonOf,
  type ShardRef,
  SiltError,
  type SiltErrorKind,
  shardRefs,
} from "@silt/core";
import { collectCollection } from "../packages/silt/src/collect-store.ts";
import { sweepCollection } from "../packages/silt/src/sweep-store.ts";
import { type Deadline, deadlineOf } from "./deadline.ts";
import type { Env } from "./env.ts";
import { openPorts } from "./open-ports.ts";
import { type Handle, lambda, once, type Wiring } from "./wiring.ts";

export interface SweepAnswer {
  readonly collections: number;
  readonly shards: number;
  readonly hinted: number;
  readonly stuck: number;
  readonly deleted: number;
  /** False when the collector's time was up. */
  readonly collected: boolean;
}

interface Where {
  readonly collection: string;
  readonly shard?: string | null;
}

interface Failure {
  readonly kind: SiltErrorKind;
  readonly message: string;
}

/** What an alarm must ring for; anything else may pass by itself. */
const ALARMING: readonly SiltErrorKind[] = ["corrupt", "internal", "invalid"];
/** The collector begins with another collection each time, so that none is always the last. */
const TURN_MS = 60_000;

export interface SweepWiring extends Pick<Wiring, "logger" | "metrics"> {
  readonly env: Pick<Env, "marginMs">;
  readonly ports: () => Promise<Ports>;
}

export function createSweepHandler(wiring: SweepWiring): Handle<unknown, SweepAnswer> {
  return async (_, context) => {
    using deadline = deadlineOf(context, wiring.env.marginMs);
    const ports = await wiring.ports();
    const sweep = new Sweep(wiring, ports, `sweep/${context.awsRequestId}`, deadline);
    const names = await listCollections(ports);
    for (const name of names) await sweep.repair(name);
    for (const name of names) await sweep.measure(name);
    const first = Math.floor(ports.clock.nowMs() / TURN_MS) % Math.max(1, names.length);
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      await sweep.collect(name);
    }
    const answer = { collections: names.length, ...sweep.counts };
    wiring.logger.log("info", "swept", answer);
    const { alarming } = sweep;
    if (alarming.length === 0) return answer;
    const worst = alarming[0] as Failure;
    throw new SiltError(
      worst.kind,
      `Cannot sweep all shards: ${alarming.length} failures, the first: ${worst.message}`,
    );
  };
}

class Sweep {
  readonly counts = { shards: 0, hinted: 0, stuck: 0, deleted: 0, collected: true };
  readonly alarming: Failure[] = [];
  readonly #wiring: SweepWiring;
  readonly #ports: Ports;
  readonly #holder: string;
  readonly #deadline: Deadline;
  /** Collections, and shards, that are told about already. */
  readonly #broken = new Set<string>();

  constructor(wiring: SweepWiring, ports: Ports, holder: string, deadline: Deadline) {
    this.#wiring = wiring;
    this.#ports = ports;
    this.#holder = holder;
    this.#deadline = deadline;
  }

  async repair(collection: string): Promise<void> {
    await this.#attempt({ collection }, async () => {
      const { signal } = this.#deadline;
      for (const report of await sweepCollection(this.#context, await this.#open(collection), {
        signal,
      })) {
        const { shard, hinted, stuck, error } = report;
        const where = { collection, shard };
        if (error !== undefined) this.#failed(where, error);
        if (hinted) this.counts.hinted += 1;
        if (stuck !== null) {
          this.counts.stuck += 1;
          this.#wiring.logger.log("error", "shard is stuck", { ...where, reason: stuck });
        }
        // A shard that can't be read is stuck as well, and nobody knows for how long.
        const isStuck = stuck !== null || error?.kind === "corrupt";
        this.#wiring.metrics.gauge("StuckShards", isStuck ? 1 : 0);
      }
    });
  }

  async measure(collection: string): Promise<void> {
    await this.#attempt({ collection }, async () => {
      for (const shard of shardRefs((await this.#open(collection)).identity)) {
        this.counts.shards += 1;
        await this.#attempt({ collection, shard: shard.shard }, () => this.#measureShard(shard));
      }
    });
  }

  async #measureShard(shard: ShardRef): Promise<void> {
    const { metrics, logger } = this.#wiring;
    const status = await readShardStatus(this.#ports, shard);
    const { pending, excluded, oldestPendingSeconds, secondsSinceFlip, version } = status;
    metrics.gauge("PendingRuns", pending);
    metrics.gauge("OldestPendingSeconds", oldestPendingSeconds ?? 0);
    // An idle shard is not late.
    metrics.gauge("SecondsSinceFlip", pending === 0 ? 0 : (secondsSinceFlip ?? 0));
    metrics.gauge("ExcludedRuns", excluded);
    const where = { collection: shard.collection, shard: shard.shard };
    const told = { pending, excluded, oldestPendingSeconds, secondsSinceFlip, version };
    logger.log("info", "shard", { ...where, ...told });
  }

  async collect(collection: string): Promise<void> {
    const { signal } = this.#deadline;
    await this.#attempt({ collection }, async () => {
      signal.throwIfAborted();
      const { identity } = await this.#open(collection);
      const options = { delete: true, signal };
      for (const report of await collectCollection(this.#context, identity, options)) {
        const { shard, deleted, retired, error } = report;
        if (error !== undefined) this.#failed({ collection, shard }, error);
        this.counts.deleted += deleted.length;
        if (deleted.length === 0 && retired.length === 0) continue;
        const bytes = deleted.reduce((sum, object) => sum + object.bytes, 0);
        const told = { deleted: deleted.length, bytes, retired };
        this.#wiring.logger.log("info", "shard collected", { collection, shard, ...told });
      }
    });
  }

  get #context() {
    return { ports: this.#ports, holder: this.#holder };
  }

  async #open(collection: string): Promise<OpenCollection> {
    const opened = await openCollection(this.#ports, collection);
    if (opened !== undefined) return opened;
    throw new SiltError("unavailable", `Cannot sweep "${collection}": it vanished meanwhile`);
  }

  async #attempt(where: Where, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (this.#deadline.signal.aborted) {
        this.counts.collected = false;
        return;
      }
      const kind = isSiltError(error) ? error.kind : "internal";
      this.#failed(where, { kind, message: reasonOf(error) });
    }
  }

  /** What fails in one step fails in the next ones, too: it is told once. */
  #failed(where: Where, failure: Failure): void {
    const { collection, shard } = where;
    const key = `${collection}/${shard ?? ""}`;
    if (this.#broken.has(key) || this.#broken.has(`${collection}/`)) return;
    this.#broken.add(key);
    const isAlarming = ALARMING.includes(failure.kind);
    if (isAlarming) this.alarming.push(failure);
    const { kind, message } = failure;
    this.#wiring.logger.log(isAlarming ? "error" : "warn", message, { ...where, kind });
  }
}

export const handler = lambda<unknown, SweepAnswer>((wiring) => {
  const ports = once(() => openPorts(wiring.env, wiring, { create: true }));
  return createSweepHandler({ ...wiring, ports });
});
