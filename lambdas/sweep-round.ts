/** One round of the sweep over all collections. A shard that fails doesn't stop the others; the signal ends it. */
import {
  type CollectionIdentity,
  collectShard,
  isSiltError,
  type OpenCollection,
  openCollection,
  type Ports,
  readShardStatus,
  reasonOf,
  type ShardRef,
  type SiltErrorKind,
  shardRefs,
} from "@silt/core";
import { type SweepReport, sweepCollection } from "../packages/silt/src/sweep-store.ts";
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
  readonly signal: AbortSignal;
}

/** How a shard is doing; null is what a sweep that failed could not tell. */
type Health = Pick<
  SweepReport,
  "version" | "pending" | "excluded" | "oldestPendingSeconds" | "secondsSinceFlip"
>;

const nameOf = ({ collection, shard }: Where): string => `${collection}/${shard ?? ""}`;

/** What an alarm must ring for; anything else may pass by itself. */
const ALARMING: readonly SiltErrorKind[] = ["corrupt", "internal", "invalid"];

export class SweepRound {
  readonly counts = { shards: 0, hinted: 0, stuck: 0, deleted: 0 };
  readonly alarming: SweepFailure[] = [];
  readonly #context: RoundContext;
  /** Collections, and shards, that are told about already: what fails in one step fails in the next. */
  readonly #told = new Set<string>();
  /** What the repair has seen of shards, so that they need not be read again. */
  readonly #seen = new Map<string, Health>();

  constructor(context: RoundContext) {
    this.#context = context;
  }

  async open(names: readonly string[]): Promise<readonly OpenCollection[]> {
    const opened: OpenCollection[] = [];
    for (const collection of names) {
      if (this.#context.signal.aborted) break;
      const isOpen = await this.#attempt({ collection }, async () => {
        const found = await openCollection(this.#context.ports, collection);
        if (found !== undefined) opened.push(found);
      });
      if (!isOpen) this.#context.metrics.gauge("StuckShards", 1);
    }
    return opened;
  }

  /** Repairs what was forgotten, and hints at what waits. */
  async repair(opened: OpenCollection): Promise<void> {
    const { collection } = opened.identity;
    const { ports, holder, signal, metrics, logger } = this.#context;
    await this.#attempt({ collection }, async () => {
      const reports = await sweepCollection({ ports, holder }, opened, { signal });
      for (const report of reports) {
        const { shard, hinted, stuck, error } = report;
        const where = { collection, shard };
        if (error !== undefined) this.#failed(where, error);
        else this.#seen.set(nameOf(where), report);
        if (hinted) this.counts.hinted += 1;
        if (stuck !== null) logger.log("error", "shard is stuck", { ...where, reason: stuck });
        // One that is damaged is stuck as well.
        const isStuck = stuck !== null || error?.kind === "corrupt";
        if (isStuck) this.counts.stuck += 1;
        if (isStuck) metrics.gauge("StuckShards", 1);
      }
    });
  }

  /** Says how every shard is doing, for the alarms. */
  async measure({ identity }: OpenCollection): Promise<void> {
    for (const shard of shardRefs(identity)) {
      // What is seen already costs no time.
      if (this.#context.signal.aborted && !this.#seen.has(nameOf(shard))) return;
      this.counts.shards += 1;
      await this.#attempt(shard, () => this.#measureShard(shard));
    }
  }

  /** Collects what nothing needs. False when the time was up before everything was looked at. */
  async collect({ identity }: OpenCollection): Promise<boolean> {
    const { ports, signal } = this.#context;
    for (const shard of shuffled(shardRefs(identity), ports.random)) {
      if (signal.aborted) return false;
      await this.#attempt(shard, () => this.#collectShard(identity, shard));
    }
    return !signal.aborted;
  }

  /** Tells what was deleted, also when the time was up in the middle of it. */
  async #collectShard(identity: CollectionIdentity, ref: ShardRef): Promise<void> {
    const { ports, holder, signal, logger } = this.#context;
    const options = { holder, delete: true, signal };
    const { deleted, retired } = await collectShard(ports, identity, ref, options);
    this.counts.deleted += deleted.length;
    if (deleted.length === 0 && retired.length === 0) return;
    const bytes = deleted.reduce((sum, object) => sum + object.bytes, 0);
    const told = { deleted: deleted.length, bytes, retired };
    const { collection, shard } = ref;
    logger.log("info", "shard collected", { collection, shard, ...told });
  }

  async #measureShard(shard: ShardRef): Promise<void> {
    const { ports, metrics, logger } = this.#context;
    // A repair that failed half way tells nothing: alarms need to know all the same.
    const health: Health = this.#seen.get(nameOf(shard)) ?? (await readShardStatus(ports, shard));
    const { pending, excluded, oldestPendingSeconds, secondsSinceFlip, version } = health;
    // A metric costs for each hour that it is told in: a store that idles tells none.
    if (pending !== null && pending > 0) {
      metrics.gauge("PendingRuns", pending);
      metrics.gauge("OldestPendingSeconds", oldestPendingSeconds ?? 0);
      metrics.gauge("SecondsSinceFlip", secondsSinceFlip ?? 0);
    }
    if (excluded !== null && excluded > 0) metrics.gauge("ExcludedRuns", excluded);
    const where = { collection: shard.collection, shard: shard.shard };
    const told = { pending, excluded, oldestPendingSeconds, secondsSinceFlip, version };
    logger.log("info", "shard", { ...where, ...told });
  }

  /** False when it failed; what the end of the time cuts short is no failure. */
  async #attempt(where: Where, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (this.#context.signal.aborted) return true;
      const kind = isSiltError(error) ? error.kind : "internal";
      this.#failed(where, { kind, message: reasonOf(error) });
      return false;
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
