/** Whatever does not repair itself ends here; each alarm names what to read about it. */
import {
  Alarm,
  ComparisonOperator,
  type IMetric,
  TreatMissingData,
} from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import { Topic } from "aws-cdk-lib/aws-sns";
import type { Queue } from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import { type EmittedName, emitted, functionsOf, PERIOD, type Watched } from "./metrics.ts";
import { SWEEP_EVERY } from "./schedule.ts";

/** Headings of docs/RUNBOOK.md. */
export const RUNBOOK_HEADINGS = {
  pendingOld: "Pending runs grow old",
  noFlip: "Nothing was flipped for long",
  excluded: "A run is excluded",
  stuck: "A shard is stuck",
  tooLarge: "A compaction does not fit",
  uploadsDead: "Uploads were given up",
  compactionDead: "Hints were given up",
  dispatchDead: "Stream records were given up",
  sweepDead: "A sweep was given up",
  sweepSilent: "The sweep does not run",
  errors: "A function fails",
  throttled: "Functions are throttled",
  streamLate: "The stream is read late",
  uploadsLate: "Uploads wait",
  pictures: "Pictures fail",
  queries: "Queries fail",
} as const;

export type AlarmKind = keyof typeof RUNBOOK_HEADINGS;

/** The anchor that GitHub gives a heading. */
export const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^a-z0-9 -]/g, "")
    .replaceAll(" ", "-");

/** What the sweep hints after two rounds, an attempt at compaction, and one more. */
const PENDING_SECONDS_MAX = 30 * 60;
const NO_FLIP_SECONDS_MAX = 60 * 60;
const UPLOAD_SECONDS_MAX = 60 * 60;
/** The stream keeps a day. */
const STREAM_MS_MAX = 15 * 60 * 1_000;
const FAILED_PICTURES_MAX = 10;

interface AlarmSpec {
  readonly id: string;
  readonly kind: AlarmKind;
  readonly what: string;
  readonly metric: IMetric;
  /** The alarm goes off above or below it; one of the two. */
  readonly above?: number;
  readonly below?: number;
  /** Periods of five minutes, of which `breaching` must be above; default 1 of 1. */
  readonly periods?: number;
  readonly breaching?: number;
  readonly missing?: TreatMissingData;
}

/** The sweep tells a gauge only while there is something to tell; its silence has an alarm of its own. */
function storeAlarms({ stackName }: Watched): readonly AlarmSpec[] {
  const gauge = (name: EmittedName) => emitted(stackName, name);
  return [
    {
      id: "oldest-pending",
      kind: "pendingOld",
      what: `A registered run waits for more than ${PENDING_SECONDS_MAX / 60} minutes for its compaction.`,
      metric: gauge("OldestPendingSeconds"),
      above: PENDING_SECONDS_MAX,
    },
    {
      id: "no-flip",
      kind: "noFlip",
      what: `Runs are pending, and a shard was not flipped for ${NO_FLIP_SECONDS_MAX / 60} minutes.`,
      metric: gauge("SecondsSinceFlip"),
      above: NO_FLIP_SECONDS_MAX,
      periods: 3,
    },
    {
      id: "excluded-runs",
      kind: "excluded",
      what: "Acknowledged runs are excluded from the current version.",
      metric: gauge("ExcludedRuns"),
      above: 0,
    },
    {
      id: "stuck-shards",
      kind: "stuck",
      what: "A shard cannot be compacted, and tries do not help.",
      metric: gauge("StuckShards"),
      above: 0,
      periods: 2,
    },
    {
      id: "compaction-too-large",
      kind: "tooLarge",
      what: "A compaction needs more disk, memory or time than the function has.",
      metric: gauge("CompactionTooLarge"),
      above: 0,
    },
    {
      id: "failed-pictures",
      kind: "pictures",
      what: `More than ${FAILED_PICTURES_MAX} uploads within five minutes were no readable pictures.`,
      metric: gauge("FailedPictures"),
      above: FAILED_PICTURES_MAX,
    },
    {
      id: "failed-queries",
      kind: "queries",
      what: "Queries met damage, or could not read the store, in more than one period of five minutes.",
      metric: gauge("FailedQueries"),
      above: 0,
      periods: 3,
      breaching: 2,
    },
  ];
}

function queueAlarms(watched: Watched): readonly AlarmSpec[] {
  const depth = (id: string, kind: AlarmKind, queue: Queue, what: string): AlarmSpec => ({
    id,
    kind,
    what,
    metric: queue.metricApproximateNumberOfMessagesVisible({ period: PERIOD, statistic: "max" }),
    above: 0,
  });
  const { uploads, compaction, dispatchDead, dead } = watched;
  return [
    depth("uploads-dead", "uploadsDead", uploads.dead, "Upload events failed again and again."),
    depth("compaction-dead", "compactionDead", compaction.dead, "Compactions failed repeatedly."),
    depth("dispatch-dead", "dispatchDead", dispatchDead, "Stream records could not be read."),
    depth("sweep-dead", "sweepDead", dead, "A scheduled sweep failed."),
    {
      id: "uploads-late",
      kind: "uploadsLate",
      what: `An upload waits for more than ${UPLOAD_SECONDS_MAX / 60} minutes to be ingested.`,
      metric: uploads.queue.metricApproximateAgeOfOldestMessage({ period: PERIOD }),
      above: UPLOAD_SECONDS_MAX,
      periods: 2,
    },
  ];
}

function functionAlarms(watched: Watched): readonly AlarmSpec[] {
  const functions = functionsOf(watched);
  return [
    ...functions.map(
      ({ name, lambda }): AlarmSpec => ({
        id: `${name}-errors`,
        kind: "errors",
        what: `The function ${name} fails in more than one period of five minutes.`,
        metric: lambda.metricErrors({ period: PERIOD }),
        above: 0,
        periods: 3,
        breaching: 2,
      }),
    ),
    ...functions.map(
      ({ name, lambda }): AlarmSpec => ({
        id: `${name}-throttled`,
        kind: "throttled",
        what: `Invocations of the function ${name} wait for the account's concurrency.`,
        metric: lambda.metricThrottles({ period: PERIOD }),
        above: 0,
        periods: 2,
      }),
    ),
    {
      id: "stream-late",
      kind: "streamLate",
      what: `New runs come to the dispatcher more than ${STREAM_MS_MAX / 60_000} minutes late.`,
      metric: watched.dispatch.lambda.metric("IteratorAge", { period: PERIOD, statistic: "max" }),
      above: STREAM_MS_MAX,
      periods: 2,
    },
    {
      id: "sweep-silent",
      kind: "sweepSilent",
      what: `No sweep ran for three times ${SWEEP_EVERY.toMinutes()} minutes: the other alarms see nothing.`,
      // No invocation is no data, not a zero: it is the silence that breaches.
      metric: watched.sweep.lambda.metricInvocations({ period: PERIOD }),
      below: 1,
      periods: 3,
      missing: TreatMissingData.BREACHING,
    },
  ];
}

/** Makes all alarms; they go to the topic, if there is one. */
export function addAlarms(
  scope: Construct,
  watched: Watched,
  topicArn: string | undefined,
): readonly Alarm[] {
  const place = new Construct(scope, "Alarms");
  const topic = topicArn === undefined ? undefined : Topic.fromTopicArn(place, "Topic", topicArn);
  const specs = [...storeAlarms(watched), ...queueAlarms(watched), ...functionAlarms(watched)];
  return specs.map((spec) => {
    const heading = RUNBOOK_HEADINGS[spec.kind];
    const alarm = new Alarm(place, spec.id, {
      alarmName: `${watched.stackName}-${spec.id}`,
      alarmDescription: `${spec.what} See "${heading}": docs/RUNBOOK.md#${anchorOf(heading)}`,
      metric: spec.metric,
      threshold: spec.above ?? spec.below ?? 0,
      comparisonOperator:
        spec.below === undefined
          ? ComparisonOperator.GREATER_THAN_THRESHOLD
          : ComparisonOperator.LESS_THAN_THRESHOLD,
      evaluationPeriods: spec.periods ?? 1,
      datapointsToAlarm: spec.breaching ?? spec.periods ?? 1,
      treatMissingData: spec.missing ?? TreatMissingData.NOT_BREACHING,
    });
    if (topic !== undefined) {
      alarm.addAlarmAction(new SnsAction(topic));
      alarm.addOkAction(new SnsAction(topic));
    }
    return alarm;
  });
}
