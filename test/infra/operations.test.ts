/** What functions may do, what alarms say, what the checks of AWS's solutions library find. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type App, Validations } from "aws-cdk-lib";
import { Bucket } from "aws-cdk-lib/aws-s3";
import { AwsSolutionsChecks } from "cdk-nag";
import { describe, expect, it } from "vitest";
import { anchorOf, RUNBOOK_HEADINGS } from "../../infra/alarms.ts";
import { SETTING_NAMES, settingsOf } from "../../infra/context.ts";
import { newStack, type Properties, statementsOf, synthesize } from "./stack.fixture.ts";

const stack = synthesize({ collections: [{ name: "lines", dimension: 512 }] });
const cached = synthesize({ sharedCache: true, removal: "destroy" });

const LOGS = (name: string) => `Allow logs:CreateLogStream logs:PutLogEvents on <${name}Logs>`;
const TRACES = "Allow xray:PutTelemetryRecords xray:PutTraceSegments on *";
const OBJECTS = ["<StorageStore>/collections/*", "<StorageStore>/silt-store.json"];
const TAKES = (queue: string, more = "") =>
  `Allow sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:GetQueueUrl sqs:ReceiveMessage${more} on <${queue}>`;
const HINTS = "Allow sqs:GetQueueUrl sqs:SendMessage sqs:SendMessageBatch on <QueuesCompaction>";
const WRITES_LOG =
  "Allow dynamodb:GetItem dynamodb:PutItem dynamodb:Query dynamodb:UpdateItem on <StorageLog>";
const DROPS = (queue: string) =>
  `Allow sqs:GetQueueAttributes sqs:GetQueueUrl sqs:SendMessage on <${queue}>`;

describe("each role may do what its function does, and nothing else:", () => {
  it.each([
    [
      "Ingest",
      [
        LOGS("Ingest"),
        TRACES,
        WRITES_LOG,
        TAKES("QueuesUploads"),
        ...[...OBJECTS, "<StorageUploads>/*"].map((key) => `Allow s3:GetObject on ${key}`),
        ...OBJECTS.map((key) => `Allow s3:AbortMultipartUpload s3:PutObject on ${key}`),
        "Allow s3:ListBucket on <StorageStore>",
        "Allow s3:ListBucket on <StorageUploads>",
      ],
    ],
    [
      "Dispatch",
      [
        LOGS("Dispatch"),
        "Allow dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator on <StorageLog.StreamArn>",
        "Allow dynamodb:ListStreams xray:PutTelemetryRecords xray:PutTraceSegments on *",
        HINTS,
        DROPS("QueuesDispatchDead"),
      ],
    ],
    [
      "Compact",
      [
        LOGS("Compact"),
        TRACES,
        WRITES_LOG,
        TAKES("QueuesCompaction", " sqs:SendMessage sqs:SendMessageBatch"),
        `Allow s3:AbortMultipartUpload s3:PutObject on ${OBJECTS[0]}`,
        ...OBJECTS.map((key) => `Allow s3:GetObject on ${key}`),
        "Allow s3:ListBucket on <StorageStore>",
      ],
    ],
    [
      "Sweep",
      [
        LOGS("Sweep"),
        TRACES,
        WRITES_LOG,
        HINTS,
        DROPS("ScheduleSweepDead"),
        ...OBJECTS.map(
          (key) => `Allow s3:AbortMultipartUpload s3:GetObject s3:PutObject on ${key}`,
        ),
        "Allow s3:DeleteObject on <StorageStore>/collections/*",
        "Allow s3:ListBucket on <StorageStore>",
      ],
    ],
    [
      "Query",
      [
        LOGS("Query"),
        TRACES,
        "Allow dynamodb:GetItem dynamodb:Query on <StorageLog>",
        ...OBJECTS.map((key) => `Allow s3:GetObject on ${key}`),
        "Allow s3:ListBucket on <StorageStore>",
      ],
    ],
  ])("%s", (role, expected) => {
    expect(statementsOf(stack, role)).toEqual([...expected].sort());
  });

  it("none has a managed policy, and there is no role besides", () => {
    const roles = stack.of("AWS::IAM::Role");
    expect(roles).toHaveLength(5);
    for (const { Properties } of roles) expect(Properties.ManagedPolicyArns).toBeUndefined();
  });

  it("only the sweep deletes, objects alone", () => {
    const text = JSON.stringify(stack.of("AWS::IAM::Policy"));
    expect(text.match(/:Delete(?!Message)\w+/g)).toEqual([":DeleteObject"]);
  });
});

describe("the functions", () => {
  const functions = stack.of("AWS::Lambda::Function");

  it("run Node 24 on arm64, traced, with a log group that keeps 30 days", () => {
    expect(functions).toHaveLength(5);
    for (const { Properties } of functions) {
      expect(Properties).toMatchObject({
        Runtime: "nodejs24.x",
        Architectures: ["arm64"],
        Handler: "index.handler",
        TracingConfig: { Mode: "Active" },
        LoggingConfig: { LogGroup: expect.anything() },
      });
    }
    const groups = stack.of("AWS::Logs::LogGroup");
    expect(groups.map(({ Properties }) => Properties.RetentionInDays)).toEqual(Array(5).fill(30));
  });

  it("know the store by table and queue, and the collections", () => {
    const { Variables } = stack.one("AWS::Lambda::Function", "CompactFunction").Properties
      .Environment as { Variables: Properties };
    const [, parts] = (Variables.SILT_STORE as { "Fn::Join": [string, unknown[]] })["Fn::Join"];
    expect(parts.filter((part) => typeof part === "string")).toEqual([
      "s3://",
      "?table=",
      "&queue=",
    ]);
    expect(JSON.parse(Variables.SILT_COLLECTIONS as string)).toEqual([
      { name: "lines", dimension: 512 },
    ]);
    expect(Variables.POWERTOOLS_METRICS_NAMESPACE).toBe("Silt");
  });

  it("have a disk for what they merge, of 4 GiB unless told otherwise", () => {
    const disk = (of: typeof stack) =>
      of.one("AWS::Lambda::Function", "CompactFunction").Properties.EphemeralStorage;
    expect(disk(stack)).toEqual({ Size: 4_096 });
    expect(disk(synthesize({ compactionDiskMb: 10_240 }))).toEqual({ Size: 10_240 });
  });

  it("of readers keep segments on half of their disk, or in the folder that they share", () => {
    const variables = (of: typeof stack) =>
      (of.one("AWS::Lambda::Function", "QueryFunction").Properties.Environment as Properties)
        .Variables as Properties;
    expect(variables(stack).SILT_CACHE_BYTES).toBe(String(2 * 1024 ** 3));
    expect(variables(cached)).toMatchObject({ SILT_CACHE: "/mnt/silt/segments" });
    expect(variables(cached).SILT_CACHE_BYTES).toBeUndefined();
  });

  it("answer signed requests only", () => {
    const urls = stack.of("AWS::Lambda::Url");
    expect(urls.map(({ Properties }) => Properties.AuthType)).toEqual(["AWS_IAM"]);
    const allowed = stack
      .of("AWS::Lambda::Permission")
      .map(({ Properties }) => Properties.Principal);
    // The sweep's two schedules.
    expect(allowed).toEqual(["events.amazonaws.com", "events.amazonaws.com"]);
  });

  it("of readers share a cache in a private network when that is asked for", () => {
    const query = cached.one("AWS::Lambda::Function", "QueryFunction").Properties;
    expect(query.FileSystemConfigs).toMatchObject([{ LocalMountPath: "/mnt/silt" }]);
    expect(cached.of("AWS::EFS::FileSystem")[0]?.Properties.Encrypted).toBe(true);
    expect(cached.of("AWS::EC2::NatGateway")).toEqual([]);
    expect(cached.of("AWS::EC2::InternetGateway")).toEqual([]);
    expect(cached.of("AWS::EC2::VPCEndpoint")).toHaveLength(2);
    expect(stack.of("AWS::EC2::VPC")).toEqual([]);
  });
});

describe("the alarms", () => {
  const alarms = stack.of("AWS::CloudWatch::Alarm").map(({ Properties }) => Properties);
  it("each name a heading of the runbook, and every heading meant for one is used", () => {
    const named = alarms.map(
      ({ AlarmDescription }) => /docs\/RUNBOOK\.md#([a-z0-9-]+)$/.exec(`${AlarmDescription}`)?.[1],
    );
    const known = Object.values(RUNBOOK_HEADINGS).map(anchorOf);
    expect([...new Set(named)].sort()).toEqual([...known].sort());
    const runbook = readFileSync(join(import.meta.dirname, "../../docs/RUNBOOK.md"), "utf8");
    const written = [...runbook.matchAll(/^## (.+)$/gm)].map(([, heading = ""]) => heading);
    expect(written).toEqual(expect.arrayContaining(Object.values(RUNBOOK_HEADINGS)));
  });

  it("watch what can go wrong", () => {
    expect(alarms.map(({ AlarmName }) => `${AlarmName}`.slice("Silt-".length)).sort()).toEqual([
      "compact-errors",
      "compact-throttled",
      "compaction-dead",
      "compaction-too-large",
      "dispatch-dead",
      "dispatch-errors",
      "dispatch-throttled",
      "excluded-runs",
      "failed-pictures",
      "failed-queries",
      "ingest-errors",
      "ingest-throttled",
      "no-flip",
      "oldest-pending",
      "query-errors",
      "query-throttled",
      "stream-late",
      "stuck-shards",
      "sweep-dead",
      "sweep-errors",
      "sweep-silent",
      "sweep-throttled",
      "uploads-dead",
      "uploads-late",
    ]);
  });

  it("take silence for an alarm only of the sweep, which all gauges come from", () => {
    const missing = (kind: string) =>
      alarms
        .filter(({ TreatMissingData }) => TreatMissingData === kind)
        .map(({ AlarmName }) => AlarmName);
    expect(missing("breaching")).toEqual(["Silt-sweep-silent"]);
    // An alarm must end when the sweep has nothing to tell any more.
    expect(missing("ignore")).toEqual([]);
  });

  it("look at metrics that the functions emit, by name and service", () => {
    const folder = join(import.meta.dirname, "../../lambdas");
    const handlers = readdirSync(folder)
      .filter((name) => name.endsWith(".ts") && !/\.(?:test|fixture)\.ts$/.test(name))
      .map((name) => readFileSync(join(folder, name), "utf8"))
      .join("\n");
    const own = alarms.filter(({ Namespace }) => Namespace === "Silt");
    expect(own).toHaveLength(7);
    for (const { MetricName, Dimensions } of own) {
      expect(handlers).toMatch(new RegExp(`\\.(?:count|gauge)\\("${MetricName}"`));
      expect(Dimensions).toEqual([
        { Name: "service", Value: expect.stringMatching(/^Silt-(?:compact|ingest|query|sweep)$/) },
      ]);
    }
  });

  it("go to a topic, if there is one", () => {
    const alarmTopicArn = "arn:aws:sns:us-east-1:123456789012:operators";
    const [first] = synthesize({ alarmTopicArn }).of("AWS::CloudWatch::Alarm");
    expect(first?.Properties).toMatchObject({
      AlarmActions: [alarmTopicArn],
      OKActions: [alarmTopicArn],
    });
    expect(alarms[0]?.AlarmActions).toBeUndefined();
  });

  it("are on the dashboard", () => {
    const [dashboard] = stack.of("AWS::CloudWatch::Dashboard");
    const body = JSON.stringify(dashboard?.Properties.DashboardBody);
    for (const { id } of stack.of("AWS::CloudWatch::Alarm")) expect(body).toContain(id);
  });
});

describe("the checks of cdk-nag", () => {
  const findings = (app: App): readonly string[] => {
    const checks = new AwsSolutionsChecks(app);
    Validations.of(app).addPlugins(checks);
    try {
      app.synth();
    } catch {
      // What is found is in the report.
    }
    const report = JSON.parse(readFileSync(join(app.outdir, "validation-report.json"), "utf8")) as {
      pluginReports: readonly { violations: readonly { ruleName: string }[] }[];
    };
    return report.pluginReports.flatMap(({ violations }) =>
      violations.map(({ ruleName }) => ruleName),
    );
  };

  it.each([
    ["as it is", {}],
    ["with a shared cache and a prefix", { sharedCache: true, uploadsPrefix: "shop/" }],
  ])("find nothing that is not justified: %s", (_, settings) => {
    expect(findings(newStack(settings).app)).toEqual([]);
  });

  it("find a bucket that somebody adds", () => {
    const { app, stack } = newStack();
    new Bucket(stack, "Plain");
    expect(findings(app)).toContain("AwsSolutions-S10");
  });
});

describe("settings", () => {
  const read = (given: Properties) => () => settingsOf(given);

  it("come as text from the command line, or as JSON from cdk.json", () => {
    const given = { compactionDiskMb: "8192", sharedCache: "true", memoryMb: '{"query":3008}' };
    const collections = [{ name: "lines", embedder: "use-lite", shards: 2 }];
    // CDK's own settings are none of ours.
    const ofCdk = { "aws:cdk:enable-path-metadata": true, "cli-telemetry": false };
    expect(read({ ...ofCdk, ...given, collections })()).toEqual({
      stackName: "Silt",
      local: false,
      xenova: false,
      compactionDiskMb: 8_192,
      sharedCache: true,
      memoryMb: { query: 3_008 },
      collections,
    });
  });

  it("take models of @xenova/transformers where it is bundled", () => {
    const clip = { xenova: true, imageEmbedder: "xenova:clip" };
    expect(read(clip)()).toMatchObject(clip);
  });

  it("are all in the table of docs/DEPLOY.md", () => {
    const text = readFileSync(join(import.meta.dirname, "../../docs/DEPLOY.md"), "utf8");
    const [, settings = ""] = text.split(/^## /m);
    const rows = [...settings.matchAll(/^\| `([A-Za-z]+)` \|/gm)].map(([, name = ""]) => name);
    expect(rows.toSorted()).toEqual(SETTING_NAMES.toSorted());
  });

  it.each([
    [{ architecture: "x64" }, "architecture"],
    [{ compactionDiskMb: "11000" }, "compactionDiskMb"],
    [{ ingestConcurrency: "1" }, "ingestConcurrency"],
    [{ memoryMb: '{"reader":128}' }, "reader"],
    [{ memoryMb: "{" }, "memoryMb"],
    [{ memoryMb: '{"compact":128}' }, "from 512"],
    [{ stackName: "1 bad" }, "stackName"],
    [{ local: "yes" }, "local"],
    [{ logRetentionDays: "31" }, "logRetentionDays"],
    [{ collections: '[{"dimension":3}]' }, "SILT_COLLECTIONS"],
    [{ collections: '[{"name":"lines"}]' }, "a dimension or an embedder"],
    [{ collections: '[{"name":"A B!","dimension":3}]' }, '"A B!"'],
    [{ collections: '[{"name":"own","dimension":-5}]' }, "dimension is -5"],
    [{ collections: '[{"name":"own","dimension":3,"shards":0}]' }, "shards is 0"],
    [{ collections: '[{"name":"lines","embedder":"nonsense"}]' }, '"nonsense"'],
    [{ collections: '[{"name":"images","embedder":"xenova:clip"}]' }, "xenova"],
    [{ collections: '[{"name":"lines","dimension":512}]' }, "an embedder: uploads fill it"],
    [{ collections: '[{"name":"lines","embedder":"image-descriptor"}]' }, "an embedder of text"],
    [{ collections: '[{"name":"a","embedder":"use-lite","dimension":384}]' }, "512 dimensions"],
    [{ collections: '[{"name":"a","dimension":3},{"name":"a","dimension":4}]' }, "each name once"],
    [{ imageEmbedder: "use-lite" }, "an embedder of pictures"],
    [{ textEmbedder: "image-descriptor" }, "an embedder of text"],
    [{ textEmbedder: "use-light" }, "use-lite"],
    [{ imageEmbedder: "xenova:/tmp" }, "imageEmbedder"],
    [{ compactionWindowSeconds: "0" }, "compactionWindowSeconds"],
    [{ compactionWindowSecond: "3" }, 'did you mean "compactionWindowSeconds"'],
  ])("that are wrong are refused by name: %j", (given, name) => {
    expect(read(given)).toThrow(name);
  });
});
