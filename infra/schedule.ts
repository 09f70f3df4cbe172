import { Duration } from "aws-cdk-lib";
import { Rule, RuleTargetInput, Schedule } from "aws-cdk-lib/aws-events";
import { LambdaFunction } from "aws-cdk-lib/aws-events-targets";
import { SqsDestination } from "aws-cdk-lib/aws-lambda-destinations";
import type { Queue } from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import { sweepStatements } from "./grants.ts";
import { addDeadQueue, type QueueSettings } from "./queues.ts";
import { addFunction, type FunctionSettings, type SiltFunction } from "./silt-function.ts";
import type { Storage } from "./storage.ts";

export interface Sweeping {
  readonly sweep: SiltFunction;
  readonly dead: Queue;
}

export const SWEEP_EVERY = Duration.minutes(5);
/** It lists every shard, and what it would find waits for a grace of hours anyway. */
const COLLECT_EVERY = Duration.hours(6);
/** Ends before the next one starts. */
const SWEEP_TIMEOUT = Duration.minutes(4);

/** The sweep repairs what hints missed, collects, and emits what the alarms look at. */
export function addSweep(
  scope: Construct,
  settings: FunctionSettings,
  queues: QueueSettings,
  storage: Storage,
  compactionQueue: Queue,
): Sweeping {
  const sweep = addFunction(scope, "sweep", settings, {
    timeout: SWEEP_TIMEOUT,
    statements: sweepStatements(storage, compactionQueue),
  });
  const place = new Construct(scope, "Schedule");
  const dead = addDeadQueue(place, "SweepDead", queues);
  // The next sweep is the retry of a failed one.
  sweep.lambda.configureAsyncInvoke({
    retryAttempts: 0,
    maxEventAge: SWEEP_EVERY,
    onFailure: new SqsDestination(dead),
  });
  const target = { retryAttempts: 0, maxEventAge: SWEEP_EVERY, deadLetterQueue: dead };
  new Rule(place, "Rule", {
    description: "Silt: repairs forgotten runs, measures",
    schedule: Schedule.rate(SWEEP_EVERY),
    targets: [new LambdaFunction(sweep.lambda, target)],
  });
  const event = RuleTargetInput.fromObject({ collect: true });
  new Rule(place, "Collect", {
    description: "Silt: the same, and collects what nothing needs",
    schedule: Schedule.rate(COLLECT_EVERY),
    targets: [new LambdaFunction(sweep.lambda, { ...target, event })],
  });
  return { sweep, dead };
}
