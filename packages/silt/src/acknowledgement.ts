import type { RegisteredRun } from "@silt/core";

/** A write that is durable and registered. */
export interface Acknowledgement {
  readonly collection: string;
  /** Records that the runs carry, deletes and patches included. */
  readonly acknowledged: number;
  readonly runs: readonly AcknowledgedRun[];
}

export interface AcknowledgedRun {
  readonly runId: string;
  readonly shard: string;
  readonly sequence: number;
  readonly records: number;
}

/** What a caller is told of registered runs. */
export function acknowledgementOf(
  collection: string,
  registered: readonly RegisteredRun[],
): Acknowledgement {
  const runs = registered.map(({ runId, shard, sequence, records }) => ({
    runId,
    shard,
    sequence,
    records,
  }));
  const acknowledged = runs.reduce((sum, run) => sum + run.records, 0);
  return { collection, acknowledged, runs };
}
