import { Duration } from "aws-cdk-lib";
import { Metric, Stats } from "aws-cdk-lib/aws-cloudwatch";
import type { Pipeline } from "./pipeline.ts";
import type { Querying } from "./query.ts";
import type { Sweeping } from "./schedule.ts";
import { type FunctionName, METRICS_NAMESPACE, serviceName } from "./silt-function.ts";

/** What alarms and dashboard look at. */
export interface Watched extends Pipeline, Sweeping, Querying {
  readonly stackName: string;
}

export const PERIOD = Duration.minutes(5);

/** Metrics that functions emit themselves, over all shards. The name's function emits it. */
const EMITTED = {
  OldestPendingSeconds: { by: "sweep", statistic: Stats.MAXIMUM },
  SecondsSinceFlip: { by: "sweep", statistic: Stats.MAXIMUM },
  PendingRuns: { by: "sweep", statistic: Stats.MAXIMUM },
  ExcludedRuns: { by: "sweep", statistic: Stats.MAXIMUM },
  StuckShards: { by: "sweep", statistic: Stats.MAXIMUM },
  CompactionTooLarge: { by: "compact", statistic: Stats.SUM },
  FailedQueries: { by: "query", statistic: Stats.SUM },
  FailedPictures: { by: "ingest", statistic: Stats.SUM },
} as const satisfies Record<string, { readonly by: FunctionName; readonly statistic: string }>;

export type EmittedName = keyof typeof EMITTED;

export function emitted(stackName: string, name: EmittedName): Metric {
  const { by, statistic } = EMITTED[name];
  return new Metric({
    namespace: METRICS_NAMESPACE,
    metricName: name,
    dimensionsMap: { service: serviceName(stackName, by) },
    statistic,
    period: PERIOD,
  });
}

export function functionsOf(watched: Watched) {
  const { ingest, dispatch, compact, sweep, query } = watched;
  return [ingest, dispatch, compact, sweep, query];
}
