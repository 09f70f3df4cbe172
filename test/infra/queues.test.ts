import { describe, expect, it } from "vitest";
import { type Properties, synthesize } from "./stack.fixture.ts";

const stack = synthesize();
const DAY = 86_400;
const queue = (name: string) => stack.one("AWS::SQS::Queue", name).Properties;
const timeoutOf = (name: string) =>
  stack.one("AWS::Lambda::Function", `${name}Function`).Properties.Timeout as number;
const sources = stack.of("AWS::Lambda::EventSourceMapping").map(({ Properties }) => Properties);
const sourceOf = (name: string) => {
  const found = sources.find(({ FunctionName }) => JSON.stringify(FunctionName).includes(name));
  return found as Properties;
};

describe.each([
  ["Uploads", "Ingest"],
  ["Compaction", "Compact"],
])("the queue %s of the function %s", (name, reader) => {
  const { VisibilityTimeout, MessageRetentionPeriod, RedrivePolicy } = queue(`Queues${name}`);
  const { maxReceiveCount } = RedrivePolicy as { maxReceiveCount: number };
  const { MaximumBatchingWindowInSeconds: window } = sourceOf(`${reader}Function`);

  it("F21 hides a message for six timeouts and the window", () => {
    expect(VisibilityTimeout).toBeGreaterThanOrEqual(6 * timeoutOf(reader) + (window as number));
  });

  it("F19 keeps a message for longer than all its attempts take, and dead letters for longer still", () => {
    expect((VisibilityTimeout as number) * maxReceiveCount).toBeLessThan(
      MessageRetentionPeriod as number,
    );
    expect(queue(`Queues${name}Dead`).MessageRetentionPeriod).toBe(14 * DAY);
    expect(MessageRetentionPeriod).toBeLessThan(14 * DAY);
  });

  it("is a standard queue that nobody may use for dead letters", () => {
    expect(queue(`Queues${name}`).FifoQueue).toBeUndefined();
    expect(queue(`Queues${name}`).RedriveAllowPolicy).toEqual({ redrivePermission: "denyAll" });
  });

  it("limits at the event source, and answers for each message", () => {
    const { ScalingConfig, FunctionResponseTypes } = sourceOf(`${reader}Function`);
    expect((ScalingConfig as Properties).MaximumConcurrency).toBeGreaterThanOrEqual(2);
    expect(FunctionResponseTypes).toEqual(["ReportBatchItemFailures"]);
  });
});

describe("all queues", () => {
  it("are encrypted, and refuse what comes without TLS", () => {
    const queues = stack.of("AWS::SQS::Queue");
    const policies = JSON.stringify(stack.of("AWS::SQS::QueuePolicy"));
    expect(queues).toHaveLength(6);
    for (const { id, Properties } of queues) {
      expect(Properties.SqsManagedSseEnabled).toBe(true);
      expect(policies).toContain(
        `{"Action":"sqs:*","Condition":{"Bool":{"aws:SecureTransport":"false"}},"Effect":"Deny","Principal":{"AWS":"*"},"Resource":{"Fn::GetAtt":["${id}","Arn"]}}`,
      );
    }
  });

  it("F19 no function has reserved concurrency that would throttle its event source", () => {
    for (const { Properties } of stack.of("AWS::Lambda::Function")) {
      expect(Properties.ReservedConcurrentExecutions).toBeUndefined();
    }
  });
});

describe("the stream", () => {
  const source = sourceOf("DispatchFunction");

  it("lets only inserted runs through", () => {
    const { Filters } = source.FilterCriteria as { Filters: readonly { Pattern: string }[] };
    expect(Filters.map(({ Pattern }) => JSON.parse(Pattern))).toEqual([
      { eventName: ["INSERT"], dynamodb: { Keys: { sk: { S: [{ prefix: "RUN#" }] } } } },
    ]);
  });

  it("F20 is not blocked by a poison record: bisected, tried, aged out, kept for people", () => {
    expect(source).toMatchObject({
      StartingPosition: "TRIM_HORIZON",
      BisectBatchOnFunctionError: true,
      MaximumRetryAttempts: 5,
      MaximumRecordAgeInSeconds: 3_600,
      FunctionResponseTypes: ["ReportBatchItemFailures"],
    });
    const { OnFailure } = source.DestinationConfig as { OnFailure: Properties };
    const dead = stack.one("AWS::SQS::Queue", "QueuesDispatchDead");
    expect(OnFailure.Destination).toEqual({ "Fn::GetAtt": [dead.id, "Arn"] });
  });
});

describe("the sweep", () => {
  it("ends before the next one, is not retried, and its failures are kept", () => {
    const rule = stack.one("AWS::Events::Rule", "ScheduleRule").Properties;
    expect(rule.ScheduleExpression).toBe("rate(5 minutes)");
    expect(timeoutOf("Sweep")).toBeLessThan(300);
    const dead = { "Fn::GetAtt": [stack.one("AWS::SQS::Queue", "ScheduleSweepDead").id, "Arn"] };
    const [target] = rule.Targets as readonly Properties[];
    expect(target?.DeadLetterConfig).toEqual({ Arn: dead });
    const collect = stack.one("AWS::Events::Rule", "ScheduleCollect").Properties;
    expect(collect.ScheduleExpression).toBe("rate(6 hours)");
    expect(collect.Targets).toMatchObject([
      { Arn: target?.Arn, DeadLetterConfig: { Arn: dead }, Input: '{"collect":true}' },
    ]);
    const [invoked] = stack.of("AWS::Lambda::EventInvokeConfig");
    expect(invoked?.Properties).toMatchObject({
      MaximumRetryAttempts: 0,
      DestinationConfig: { OnFailure: { Destination: dead } },
    });
  });
});

describe("uploads", () => {
  const notified = (settings: Parameters<typeof synthesize>[0]) => {
    const bucket = synthesize(settings).one("AWS::S3::Bucket", "StorageUploads");
    const { QueueConfigurations } = bucket.Properties.NotificationConfiguration as {
      QueueConfigurations: readonly Properties[];
    };
    return QueueConfigurations;
  };

  it("that come or go are told to the queue; the store's objects never are", () => {
    expect(notified({}).map(({ Event }) => Event)).toEqual([
      "s3:ObjectCreated:*",
      "s3:ObjectRemoved:*",
      "s3:LifecycleExpiration:*",
    ]);
    const store = stack.one("AWS::S3::Bucket", "StorageStore");
    expect(store.Properties.NotificationConfiguration).toBeUndefined();
  });

  it("can be limited to a prefix", () => {
    expect(notified({ uploadsPrefix: "shop/" })[0]?.Filter).toEqual({
      S3Key: { Rules: [{ Name: "prefix", Value: "shop/" }] },
    });
  });

  it("notify after the queue lets them, for S3 tries it when the bucket is made", () => {
    const bucket = stack.one("AWS::S3::Bucket", "StorageUploads");
    expect(bucket.DependsOn).toEqual([
      stack.one("AWS::SQS::QueuePolicy", "QueuesUploadsPolicy").id,
    ]);
  });
});
