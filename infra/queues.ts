import { Duration, type RemovalPolicy, Validations } from "aws-cdk-lib";
import { Queue, QueueEncryption, type QueueProps, RedrivePermission } from "aws-cdk-lib/aws-sqs";
import type { Construct } from "constructs";

/** A queue, and where its messages go that nobody could handle. */
export interface QueuePair {
  readonly queue: Queue;
  readonly dead: Queue;
}

export interface QueueSettings {
  readonly requireTls: boolean;
  readonly removalPolicy: RemovalPolicy;
}

/**
 * AWS's advice: throttled or retried invocations must not find their messages taken by others.
 * https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
 */
const VISIBILITY_PER_TIMEOUT = 6;
/** Longer than all attempts of a message take, or it expires before it is dead-lettered. */
const RETENTION = Duration.days(4);
/** The service's limit. A message's age counts from its first queue on. */
const DEAD_RETENTION = Duration.days(14);

const common = ({ requireTls, removalPolicy }: QueueSettings): QueueProps => ({
  encryption: QueueEncryption.SQS_MANAGED,
  enforceSSL: requireTls,
  removalPolicy,
});

/** A standard queue with its dead letters, for a function that takes `timeout` at most. */
export function addQueuePair(
  scope: Construct,
  id: string,
  settings: QueueSettings,
  options: {
    readonly timeout: Duration;
    readonly window: Duration;
    readonly receiveCountMax: number;
  },
): QueuePair {
  const dead = new Queue(scope, `${id}Dead`, {
    ...common(settings),
    retentionPeriod: DEAD_RETENTION,
    // Naming the one queue would need its name before it exists: each of the two names the other.
    redriveAllowPolicy: { redrivePermission: RedrivePermission.ALLOW_ALL },
  });
  const queue = new Queue(scope, id, {
    ...common(settings),
    visibilityTimeout: Duration.seconds(
      VISIBILITY_PER_TIMEOUT * options.timeout.toSeconds() + options.window.toSeconds(),
    ),
    retentionPeriod: RETENTION,
    deadLetterQueue: { queue: dead, maxReceiveCount: options.receiveCountMax },
    redriveAllowPolicy: { redrivePermission: RedrivePermission.DENY_ALL },
  });
  return { queue, dead };
}

/** Where a service puts what it gave up: no queue may name it as its own dead letters. */
export function addDeadQueue(scope: Construct, id: string, settings: QueueSettings): Queue {
  const dead = new Queue(scope, id, {
    ...common(settings),
    retentionPeriod: DEAD_RETENTION,
    redriveAllowPolicy: { redrivePermission: RedrivePermission.DENY_ALL },
  });
  Validations.of(dead).acknowledge({
    id: "AwsSolutions-SQS3",
    reason: "It is the dead-letter queue of an event source or a schedule, and has an alarm",
  });
  return dead;
}
