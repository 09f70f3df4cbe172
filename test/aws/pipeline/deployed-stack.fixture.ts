/**
 * A stack of its own on an API server of its own, with IAM enforced: deployed by the CDK app, its functions
 * running the real bundles. Windows are short, so that the pipeline goes on at once.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CloudFormationClient,
  paginateListStackResources,
  type StackResourceSummary,
} from "@aws-sdk/client-cloudformation";
import { CloudWatchLogsClient, paginateFilterLogEvents } from "@aws-sdk/client-cloudwatch-logs";
import { IAMClient } from "@aws-sdk/client-iam";
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { DeleteObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { GetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import { type AwsClients, createAwsClients } from "@silt/aws";
import { FUNCTION_NAMES, type FunctionName } from "../../../infra/silt-function.ts";
import {
  type ApiServer,
  ROOT_ENV,
  startMinistack,
  stopServer,
} from "../../../localstack/api-server.ts";
import { deployStack, type StackOutputs } from "../../../localstack/deploy.ts";
import { openStore, type SourceStatus, type Store } from "../../../packages/silt/src/index.ts";

/** Two shards each, so that one upload is a transaction over several logs. */
const COLLECTIONS = [
  { name: "lines", dimension: 512, embedder: "use-lite", shards: 2 },
  { name: "words", dimension: 512, embedder: "use-lite", shards: 2 },
  { name: "images", dimension: 512, embedder: "image-descriptor", shards: 2 },
];
const CONTEXT = {
  collections: JSON.stringify(COLLECTIONS),
  compactionWindowSeconds: "1",
  ingestConcurrency: "2",
  compactionConcurrency: "2",
};
const SILT = join(import.meta.dirname, "../../../packages/silt/bin/silt.js");
const POLL_MS = 100;
/** On a busy machine a cold start takes most of it. */
const WAIT_MS_MAX = 90_000;

/** Asks until there is an answer. Throws with `what` when there is none in time. */
export async function waitUntil<T>(
  what: string,
  ask: () => Promise<T | undefined | false>,
  msMax = WAIT_MS_MAX,
): Promise<T> {
  const deadline = performance.now() + msMax;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) {
      throw new Error(`Not within ${msMax / 1000} s: ${what}`);
    }
    await sleep(POLL_MS);
  }
}

export interface DeployedFunction {
  /** As Lambda knows it. */
  readonly id: string;
  readonly role: string;
  readonly logGroup: string;
}

export interface CommandResult {
  readonly exitCode: number | null;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into documents of every command
  readonly json: any;
  readonly stderr: string;
}

/** One line that a function logged; metrics are lines with `_aws`. */
export type LogLine = Readonly<Record<string, unknown>>;

export type QueueName = "Uploads" | "Compaction";
export type DeadQueueName = `${QueueName | "Dispatch" | "Sweep"}Dead`;
const DEAD_QUEUES: readonly DeadQueueName[] = [
  "UploadsDead",
  "CompactionDead",
  "DispatchDead",
  "SweepDead",
];

export type StackClients = AwsClients & {
  readonly lambda: LambdaClient;
  readonly iam: IAMClient;
  readonly logs: CloudWatchLogsClient;
};

/** Starts the server, deploys, and lets the library of this process talk to it. */
export async function deployTestStack(stack: string): Promise<DeployedStack> {
  // Functions inherit the server's environment: they would talk to the server of the other tests.
  delete process.env.AWS_ENDPOINT_URL;
  const server = await startMinistack();
  try {
    const outputs = await deployStack({ endpoint: server.endpoint, stack, context: CONTEXT });
    Object.assign(process.env, ROOT_ENV, { AWS_ENDPOINT_URL: server.endpoint });
    return new DeployedStack(stack, server, outputs, await functionsOf(stack));
  } catch (error) {
    await stopServer(server);
    throw error;
  }
}

async function functionsOf(StackName: string) {
  using client = disposable(new CloudFormationClient());
  const resources: StackResourceSummary[] = [];
  for await (const page of paginateListStackResources({ client }, { StackName })) {
    resources.push(...(page.StackResourceSummaries ?? []));
  }
  const idOf = (name: FunctionName, kind: string) => {
    const start = `${name[0]?.toUpperCase()}${name.slice(1)}${kind}`;
    const found = resources.filter(
      ({ LogicalResourceId: id }) =>
        id?.startsWith(start) && /^[0-9A-F]{8}$/.test(id.slice(start.length)),
    );
    if (found.length !== 1) throw new Error(`${found.length} resources are called ${start}`);
    return found[0]?.PhysicalResourceId ?? "";
  };
  return new Map(
    FUNCTION_NAMES.map((name) => [
      name,
      { id: idOf(name, "Function"), role: idOf(name, "Role"), logGroup: idOf(name, "Logs") },
    ]),
  );
}

function disposable<Client extends { destroy(): void }>(client: Client): Client & Disposable {
  return Object.assign(client, { [Symbol.dispose]: () => client.destroy() });
}

export class DeployedStack implements AsyncDisposable {
  readonly name: string;
  readonly server: ApiServer;
  readonly outputs: StackOutputs;
  readonly clients: StackClients;
  readonly #functions: ReadonlyMap<FunctionName, DeployedFunction>;
  readonly #resources = new AsyncDisposableStack();
  #store: Store | undefined;

  constructor(
    name: string,
    server: ApiServer,
    outputs: StackOutputs,
    functions: ReadonlyMap<FunctionName, DeployedFunction>,
  ) {
    this.name = name;
    this.server = server;
    this.outputs = outputs;
    this.#functions = functions;
    this.#resources.defer(() => stopServer(server));
    const { s3, dynamo, sqs } = this.#resources.use(createAwsClients());
    const lambda = this.#resources.use(disposable(new LambdaClient({ maxAttempts: 1 })));
    const iam = this.#resources.use(disposable(new IAMClient()));
    const logs = this.#resources.use(disposable(new CloudWatchLogsClient()));
    this.clients = { s3, dynamo, sqs, lambda, iam, logs, [Symbol.dispose]() {} };
  }

  /** Deploys it again with other settings. */
  async redeploy(context: Readonly<Record<string, string>>): Promise<void> {
    const { endpoint } = this.server;
    await deployStack({ endpoint, stack: this.name, context: { ...CONTEXT, ...context } });
  }

  functionOf(name: FunctionName): DeployedFunction {
    const found = this.#functions.get(name);
    if (found === undefined) throw new Error(`There is no function "${name}"`);
    return found;
  }

  /** The store, as the library opens it; the first function that runs makes it. */
  async store(): Promise<Store> {
    if (this.#store !== undefined) return this.#store;
    const cacheFolder = join(this.server.folder, "cache");
    const tempFolder = join(this.server.folder, "work");
    const opened = await waitUntil("the pipeline makes the store", async () => {
      try {
        const options = { create: false, cacheFolder, tempFolder };
        return await openStore(this.outputs.StoreLocation, options);
      } catch (error) {
        if (/there is no store/.test(String(error))) return undefined;
        throw error;
      }
    });
    this.#store = this.#resources.use(opened);
    return opened;
  }

  /** Uploads a picture and answers its URI. */
  async upload(
    key: string,
    bytes: Uint8Array,
    metadata: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const Bucket = this.outputs.UploadsBucket;
    await this.clients.s3.send(
      new PutObjectCommand({ Bucket, Key: key, Body: bytes, Metadata: { ...metadata } }),
    );
    return `s3://${Bucket}/${key}`;
  }

  async deleteUpload(key: string): Promise<void> {
    const Bucket = this.outputs.UploadsBucket;
    await this.clients.s3.send(new DeleteObjectCommand({ Bucket, Key: key }));
  }

  /** What a function answers. Throws what it threw. */
  // biome-ignore lint/suspicious/noExplicitAny: each function has its own answer
  async invoke(name: FunctionName, event: unknown = {}): Promise<any> {
    const { Payload, FunctionError } = await this.clients.lambda.send(
      new InvokeCommand({
        FunctionName: this.functionOf(name).id,
        Payload: JSON.stringify(event),
      }),
    );
    const answer: unknown = JSON.parse(Buffer.from(Payload ?? []).toString() || "null");
    if (FunctionError === undefined) return answer;
    throw new Error(`"${name}" failed: ${JSON.stringify(answer)}`);
  }

  /** Waits until a picture has come so far. Fails at once when it failed, unless that is waited for. */
  async untilSource(source: string, state: SourceStatus["state"]): Promise<SourceStatus> {
    const store = await this.store();
    return waitUntil(`${source} is ${state}`, async () => {
      const last = await store.sourceStatus(source);
      if (last.state === state) return last;
      if (last.state !== "failed" || state === "failed") return undefined;
      throw new Error(`${source} failed: ${last.reason}`);
    });
  }

  /** One after the other: asking about all of them all the time would be work for the server, too. */
  async untilAll(sources: readonly string[], state: SourceStatus["state"]): Promise<void> {
    for (const source of sources) await this.untilSource(source, state);
  }

  /** All messages of a queue, those in flight included. */
  async depth(queue: QueueName | DeadQueueName): Promise<number> {
    const { Attributes = {} } = await this.clients.sqs.send(
      new GetQueueAttributesCommand({ QueueUrl: this.queueUrl(queue), AttributeNames: ["All"] }),
    );
    const counts: Readonly<Record<string, string>> = Attributes;
    return ["", "NotVisible", "Delayed"]
      .map((kind) => Number(counts[`ApproximateNumberOfMessages${kind}`] ?? 0))
      .reduce((sum, count) => sum + count, 0);
  }

  /** Dead letters by queue; empty when there are none. */
  async deadLetters(): Promise<Readonly<Partial<Record<DeadQueueName, number>>>> {
    const depths = await Promise.all(
      DEAD_QUEUES.map(async (queue) => [queue, await this.depth(queue)] as const),
    );
    return Object.fromEntries(depths.filter(([, depth]) => depth > 0));
  }

  async untilDrained(...queues: readonly QueueName[]): Promise<void> {
    for (const queue of queues) {
      await waitUntil(`${queue} is drained`, async () => (await this.depth(queue)) === 0);
    }
  }

  queueUrl(queue: QueueName | DeadQueueName): string {
    const url = this.outputs[`${queue}QueueUrl`];
    if (url === undefined) throw new Error(`There is no queue "${queue}"`);
    // The server calls itself localhost, of which the SDK warns each time.
    return url.replace("//localhost:", "//127.0.0.1:");
  }

  /** What a function logged since a time, oldest first. */
  async logsOf(name: FunctionName, sinceMs = 0): Promise<readonly LogLine[]> {
    const lines: LogLine[] = [];
    const pages = paginateFilterLogEvents(
      { client: this.clients.logs },
      { logGroupName: this.functionOf(name).logGroup, startTime: sinceMs },
    );
    for await (const { events = [] } of pages) {
      for (const { message = "" } of events) {
        if (message.startsWith("{")) lines.push(JSON.parse(message) as LogLine);
      }
    }
    return lines;
  }

  /**
   * Waits for a line that a function logged since a time. The server hands lines that came late on with
   * the next invocation: it is invoked with nothing to do, in both of its processes.
   */
  async untilLogged(
    name: FunctionName,
    sinceMs: number,
    isMeant: (line: LogLine) => boolean,
  ): Promise<LogLine> {
    return waitUntil(`"${name}" logs it`, async () => {
      const found = (await this.logsOf(name, sinceMs)).find(isMeant);
      if (found === undefined) {
        await Promise.all([1, 2].map(() => this.invoke(name, { Records: [] })));
      }
      return found;
    });
  }

  /** The command, as a process of its own. */
  async silt(...args: readonly string[]): Promise<CommandResult> {
    const env = {
      ...process.env,
      SILT_STORE: this.outputs.StoreLocation,
      SILT_CACHE: join(this.server.folder, "command-cache"),
      NO_COLOR: "1",
    };
    const child = spawn(process.execPath, [SILT, ...args, "--json"], { env });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk) => (stdout += chunk));
    child.stderr.on("data", (chunk) => (stderr += chunk));
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    return { exitCode, json: stdout === "" ? undefined : JSON.parse(stdout), stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
