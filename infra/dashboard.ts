import {
  type Alarm,
  AlarmStatusWidget,
  Dashboard,
  GraphWidget,
  type IMetric,
} from "aws-cdk-lib/aws-cloudwatch";
import type { Construct } from "constructs";
import { emitted, functionsOf, PERIOD, type Watched } from "./metrics.ts";

const COLUMNS = 24;
const HALF = COLUMNS / 2;

const graph = (title: string, left: IMetric[], right: IMetric[] = []) =>
  new GraphWidget({ title, left, right, width: HALF });

/** The way of an upload from top to bottom: queues, log, compaction, readers. */
export function addDashboard(
  scope: Construct,
  watched: Watched,
  alarms: readonly Alarm[],
): Dashboard {
  const { stackName, uploads, compaction, dispatchDead, dead, dispatch, query } = watched;
  const own = (name: Parameters<typeof emitted>[1]) => emitted(stackName, name);
  const lambdas = functionsOf(watched).map(({ lambda }) => lambda);
  const period = PERIOD;
  const visible = { period, statistic: "max" };
  return new Dashboard(scope, "Dashboard", {
    widgets: [
      [new AlarmStatusWidget({ title: "Alarms", alarms: [...alarms], width: COLUMNS })],
      [
        graph(
          "Uploads: waiting, and for how long",
          [uploads.queue.metricApproximateNumberOfMessagesVisible(visible)],
          [uploads.queue.metricApproximateAgeOfOldestMessage(visible)],
        ),
        graph(
          "Dead letters",
          [uploads.dead, compaction.dead, dispatchDead, dead].map((queue) =>
            queue.metricApproximateNumberOfMessagesVisible(visible),
          ),
          [own("FailedPictures")],
        ),
      ],
      [
        graph("Log: pending and excluded runs", [
          own("PendingRuns"),
          own("ExcludedRuns"),
          own("StuckShards"),
        ]),
        graph("Log: seconds that the oldest run waits, since the last flip", [
          own("OldestPendingSeconds"),
          own("SecondsSinceFlip"),
        ]),
      ],
      [
        graph(
          "Hints: waiting; age of the stream",
          [compaction.queue.metricApproximateNumberOfMessagesVisible(visible)],
          [dispatch.lambda.metric("IteratorAge", visible)],
        ),
        graph("Compactions that do not fit, queries that fail", [
          own("CompactionTooLarge"),
          own("FailedQueries"),
        ]),
      ],
      [
        graph(
          "Functions: invocations",
          lambdas.map((lambda) => lambda.metricInvocations({ period })),
        ),
        graph(
          "Functions: errors and throttles",
          lambdas.map((lambda) => lambda.metricErrors({ period })),
          lambdas.map((lambda) => lambda.metricThrottles({ period })),
        ),
      ],
      [
        graph(
          "Functions: slowest of a hundred",
          lambdas.map((lambda) => lambda.metricDuration({ period, statistic: "p99" })),
        ),
        graph("Queries: median and slowest of a hundred", [
          query.lambda.metricDuration({ period, statistic: "p50" }),
          query.lambda.metricDuration({ period, statistic: "p99" }),
        ]),
      ],
    ],
  });
}
