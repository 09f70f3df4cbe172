/** Opening a store on AWS: objects in a bucket, log and leases in a table, hints on a queue. */
import type { Clock, Logger, Metrics, Ports, Random, SegmentEngine } from "@silt/core";
import { type AwsClientOptions, type AwsClients, createAwsClients } from "./aws-clients.ts";
import { createDynamoLeaseStore } from "./dynamo-lease-store.ts";
import { createDynamoRunLog } from "./dynamo-run-log.ts";
import { createS3ObjectStore } from "./s3-object-store.ts";
import { createSqsHintQueue, noHintQueue } from "./sqs-hint-queue.ts";
import { type AwsPlace, bindStore } from "./store-binding.ts";

export interface OpenAwsOptions {
  /** Make a store where bucket and table are empty; else that is `invalid`. */
  readonly create: boolean;
  /** Of the compactor; without one hints are dropped, and the table's stream and the sweep do their work. */
  readonly queue?: string | undefined;
  readonly client?: AwsClientOptions | undefined;
  /** Gets the clients before their first call: to trace them, or for `meterRequests`. */
  readonly instrument?: ((clients: AwsClients) => void) | undefined;
  /** Stays the caller's: it is not disposed with the ports. */
  readonly engine: SegmentEngine;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Opens, or creates, the store at a place; bucket and table must be there. Throws `invalid` when they
 * are no store or not one store, `corrupt` when half of it was lost, `unavailable` when access is denied
 * or AWS can't be reached.
 */
export async function openAwsPorts(
  place: AwsPlace,
  options: OpenAwsOptions,
): Promise<Ports & Disposable> {
  const { create, queue, engine, clock, random, logger, metrics } = options;
  using opening = new DisposableStack();
  const clients = opening.use(createAwsClients(options.client));
  options.instrument?.(clients);
  const { bucket, prefix, table } = place;
  const objects = createS3ObjectStore(
    { client: clients.s3, bucket, prefix },
    { clock, random, logger },
  );
  await bindStore({ clients, objects, random }, place, { create });
  const log = { client: clients.dynamo, table };
  const opened = opening.move();
  return {
    objects,
    log: createDynamoRunLog(log, { clock, random }),
    leases: createDynamoLeaseStore(log, clock),
    hints:
      queue === undefined
        ? noHintQueue
        : createSqsHintQueue({ client: clients.sqs, queue: { name: queue } }),
    engine,
    clock,
    random,
    logger,
    metrics,
    [Symbol.dispose]: () => opened.dispose(),
  };
}
