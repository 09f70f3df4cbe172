/**
 * One round of the sweep over all collections, shard by shard. What is seen of one is told at once, so that it is
 * not lost with what comes after it; a shard that fails doesn't stop the others; the deadline ends the round.
 */
import {
  type OpenCollection,
  openCollection,
  type Ports,
  readShardStatus,
  type ShardRef,
  type SiltErrorKind,
  shardRefs,
} from "@silt/core";
import { collectOne, type GcReport } from "../packages/silt/src/collect-store.ts";
import { failureOf } from "../packages/silt/src/each-collection.ts";
import { type SweepReport, sweepOne } from "../packages/silt/src/sweep-store.ts";
import type { Deadline } from "./deadline.ts";
import { shuffled } from "./sweep-order.ts";
import type { Wiring } from "./wiring.ts";

export interface SweepFailure {
  readonly kind: SiltErrorKind;
  readonly message: string;
}

interface Where {
  readonly collection: string;
  readonly shard?: string | null;
}

interface RoundContext extends Pick<Wiring, "logger" | "metrics"> {
  readonly ports: Ports;
  readonly holder: string;
  readonly deadline: Pick<Deadline, "signal" | "lastCall">;
}

/** How a shard is doing; null is what a sweep that failed could not tell. */
type Health = Pick<
  SweepReport,
  "version" | "pending" | "excluded" | "oldestPendingSeconds" | "secondsSinceFlip"
>;

const nameOf = ({ collection, shard }: Where): string => `${collection}/${shard ?? ""}`;

/** What an alarm must ring for; anything else may pass by itself. */
const ALARMING: readonly SiltErrorKind[] = ["corrupt", "internal", "invalid"];

/** Late is what the end of the time cut short: no failure, but nothing was seen either. */
type Attempt<T> = { readonly outcome: "done"; readonly value: T } | typeof FAILED | typeof LATE;

const FAILED = { outcome: "failed" } as const;
const LATE = { outcome: "late" } as const;

export class SweepRound {
  /** `shards` were looked at, whatever came of it. */
  readonly counts = { shards: 0, hinted: 0, stuck: 0, deleted: 0 };
  /** What the time was up before: shards of collections that were opened, and collections. */
  readonly late = { shards: 0, collections: 0 };
  readonly alarming: SweepFailure[] = [];
  readonly #context: RoundContext;
  /** Collections, and shards, that are told about already: what fails in one step fails in the next. */
  readonly #told = new Set<string>();

  constructor(context: RoundContext) {
    this.#context = context;
  }

  async open(names: readonly string[]): Promise<readonly OpenCollection[]> {
    const { ports, metrics } = this.#context;
    const opened: OpenCollection[] = [];
    for (const collection of names) {
      const attempt = await this.#attempt({ collection }, () => openCollection(ports, collection));
      if (attempt.outcome === "late") this.late.collections += 1;
      if (attempt.outcome === "failed") metrics.gauge("StuckShards", 1);
      if (attempt.outcome === "done" && attempt.value !== undefined) opened.push(attempt.value);
    }
    return opened;
  }

  /** Repairs what was forgotten, hints at what waits, and says how every shard is doing, for the alarms. */
  async sweep(opened: readonly OpenCollection[]): Promise<void> {
    const all = opened.flatMap((each) =>
      shardRefs(each.identity).map((shard) => ({ each, shard })),
    );
    for (const { each, shard } of shuffled(all, this.#context.ports.random)) {
      const health = await this.#lookAt(each, shard);
      if (health.outcome === "late") this.late.shards += 1;
      else this.counts.shards += 1;
      if (health.outcome === "done") this.#tellHealth(shard, health.value);
      // Of what cannot be read the other gauges tell nothing.
      if (health.outcome === "failed") this.#context.metrics.gauge("StuckShards", 1);
    }
  }

  /** Collects what nothing needs. False when the time was up before everything was looked at. */
  async collect({ identity }: OpenCollection): Promise<boolean> {
    const { ports, holder, deadline } = this.#context;
    const { signal } = deadline;
    const options = { delete: true, signal };
    for (const shard of shuffled(shardRefs(identity), ports.random)) {
      if (signal.aborted) return false;
      try {
        this.#tellCollected(await collectOne({ ports, holder }, identity, shard, options));
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
    return !signal.aborted;
  }

  async #lookAt(opened: OpenCollection, shard: ShardRef): Promise<Attempt<Health>> {
    const { ports, holder } = this.#context;
    const swept = await this.#attempt(shard, () => sweepOne({ ports, holder }, opened, shard, {}));
    if (swept.outcome !== "done") return swept;
    this.#tellRepair(shard, swept.value);
    if (swept.value.error === undefined) return swept;
    // A repair that failed half way tells nothing: alarms need to know all the same.
    return this.#attempt(shard, () => readShardStatus(ports, shard));
  }

  #tellRepair({ collection, shard }: ShardRef, { hinted, stuck, error }: SweepReport): void {
    const { logger, metrics } = this.#context;
    if (error !== undefined) this.#failed({ collection, shard }, error);
    if (hinted) this.counts.hinted += 1;
    if (stuck !== null) {
      logger.log("error", "shard is stuck", { collection, shard, reason: stuck });
    }
    // One that is damaged is stuck as well.
    if (stuck === null && error?.kind !== "corrupt") return;
    this.counts.stuck += 1;
    metrics.gauge("StuckShards", 1);
  }

  #tellHealth({ collection, shard }: ShardRef, health: Health): void {
    const { metrics, logger } = this.#context;
    const { pending, excluded, oldestPendingSeconds, secondsSinceFlip, version } = health;
    // A metric costs for each hour that it is told in: a store that idles tells none.
    if (pending !== null && pending > 0) {
      metrics.gauge("PendingRuns", pending);
      metrics.gauge("OldestPendingSeconds", oldestPendingSeconds ?? 0);
      metrics.gauge("SecondsSinceFlip", secondsSinceFlip ?? 0);
    }
    if (excluded !== null && excluded > 0) metrics.gauge("ExcludedRuns", excluded);
    const told = { pending, excluded, oldestPendingSeconds, secondsSinceFlip, version };
    logger.log("info", "shard", { collection, shard, ...told });
  }

  /** Tells what was deleted, also when the time was up in the middle of it. */
  #tellCollected({ collection, shard, deleted, retired, error }: GcReport): void {
    if (error !== undefined) this.#failed({ collection, shard }, error);
    this.counts.deleted += deleted.length;
    if (deleted.length === 0 && retired.length === 0) return;
    const bytes = deleted.reduce((sum, object) => sum + object.bytes, 0);
    const told = { deleted: deleted.length, bytes, retired };
    this.#context.logger.log("info", "shard collected", { collection, shard, ...told });
  }

  /** Begins nothing once the time is up, and leaves what hangs to hang: what was seen before must be told. */
  async #attempt<T>(where: Where, work: () => Promise<T>): Promise<Attempt<T>> {
    const { signal, lastCall } = this.#context.deadline;
    if (signal.aborted) return LATE;
    const done = async () => ({ outcome: "done", value: await work() }) as const;
    try {
      return await Promise.race([done(), lastCall.then(() => LATE)]);
    } catch (error) {
      this.#failed(where, failureOf(error, undefined));
      return FAILED;
    }
  }

  #failed({ collection, shard = null }: Where, failure: SweepFailure): void {
    const key = nameOf({ collection, shard });
    if (this.#told.has(key)) return;
    this.#told.add(key);
    const { kind, message } = failure;
    const isAlarming = ALARMING.includes(kind);
    if (isAlarming) this.alarming.push(failure);
    this.#context.logger.log(isAlarming ? "error" : "warn", message, { collection, shard, kind });
  }
}
