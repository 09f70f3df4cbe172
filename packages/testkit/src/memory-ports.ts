import type { Clock, Logger, Metrics, Ports, Random, SegmentEngine } from "@silt/core";
import { createMemoryHintQueue } from "./memory-hint-queue.ts";
import { createMemoryLeaseStore } from "./memory-lease-store.ts";
import { createMemoryObjectStore, type MemoryObjectStore } from "./memory-object-store.ts";
import { createMemoryRunLog } from "./memory-run-log.ts";
import { createSeededRandom } from "./seeded-random.ts";
import { createVirtualClock } from "./virtual-clock.ts";

export const silentLogger: Logger = { log() {} };
export const silentMetrics: Metrics = { count() {}, gauge() {} };

export interface MemoryPortsOptions {
  readonly engine: SegmentEngine;
  /** Default: a virtual clock whose sleeps end by themselves. */
  readonly clock?: Clock;
  /** Default: seed 1. */
  readonly random?: Random;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
}

/** All ports in memory; what is missing in the options is silent and deterministic. */
export function createMemoryPorts(
  options: MemoryPortsOptions,
): Ports & { readonly objects: MemoryObjectStore } {
  const { engine, logger = silentLogger, metrics = silentMetrics } = options;
  const clock = options.clock ?? createVirtualClock({ sleeps: "skip" });
  return {
    objects: createMemoryObjectStore(clock),
    log: createMemoryRunLog(),
    leases: createMemoryLeaseStore(clock),
    hints: createMemoryHintQueue(),
    engine,
    clock,
    random: options.random ?? createSeededRandom(1),
    logger,
    metrics,
  };
}
