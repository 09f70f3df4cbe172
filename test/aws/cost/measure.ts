/**
 * `npm run aws:costs`: what the deployed stack asks of AWS, step by step, as its functions count it
 * themselves, times the public prices. The tables of docs/COST.md are this script's output.
 */
import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  InvokeCommand,
  LambdaClient,
  ListEventSourceMappingsCommand,
  UpdateEventSourceMappingCommand,
} from "@aws-sdk/client-lambda";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import type { AwsService, AwsUsage } from "@silt/aws";
import { meterRequests } from "@silt/aws";
import { isImageName } from "@silt/embed";
import { ROOT_ENV, startMinistack, stopServer } from "../../../localstack/api-server.ts";
import { deployStack, type StackOutputs } from "../../../localstack/deploy.ts";
import { openStore } from "../../../packages/silt/src/open-store.ts";
import type { Store } from "../../../packages/silt/src/store.ts";
import { dollarsOf, lambdaDollars } from "./prices.ts";

const PICTURES = join(import.meta.dirname, "../../../examples/images");
const BURST = 200;
const AT_ONCE = 20;
const ONE_BY_ONE = 10;
const DELTAS = 10;
const DELTA_RECORDS = 1_000;
const SWEEPS = 3;
const WAIT_MS_MAX = 600_000;
const MB_IN_GB = 1024;
const DIMENSION = 384;

interface Invocation {
  readonly service: string;
  readonly ms: number;
  readonly function_memory_size: string;
  readonly usage: Readonly<Record<string, Omit<AwsUsage, "service" | "operation">>>;
}

interface Totals {
  readonly calls: readonly AwsUsage[];
  readonly invocations: number;
  readonly gbSeconds: number;
}

/** Calls of this process, as a client of the store. */
const own: AwsUsage[] = [];

function readInvocations(log: string): readonly Invocation[] {
  return readFileSync(log, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("{") && line.includes('"message":"usage"'))
    .map((line) => JSON.parse(line) as Invocation);
}

function totalsOf(invocations: readonly Invocation[]): Totals {
  const calls = invocations.flatMap(({ usage }) =>
    Object.entries(usage).map(([name, counts]): AwsUsage => {
      const [service, operation = ""] = name.split(".");
      return { service: service as AwsService, operation, ...counts };
    }),
  );
  const gbSeconds = invocations.reduce(
    (sum, { ms, function_memory_size }) =>
      sum + (ms / 1_000) * (Number(function_memory_size) / MB_IN_GB),
    0,
  );
  return { calls, invocations: invocations.length, gbSeconds };
}

/** One row of a table, for `per` of what was done. */
function row(name: string, { calls, invocations, gbSeconds }: Totals, per: number): string {
  const count = (matches: (call: AwsUsage) => boolean) =>
    calls.filter(matches).reduce((sum, { requests }) => sum + requests, 0) / per;
  const units = (unit: "readUnits" | "writeUnits") =>
    calls.reduce((sum, call) => sum + call[unit], 0) / per;
  const isGet = ({ operation }: AwsUsage) => /^(?:Get|Head)Object$/.test(operation);
  const shown = [
    count((call) => call.service === "s3" && !isGet(call)),
    count((call) => call.service === "s3" && isGet(call)),
    units("writeUnits"),
    units("readUnits"),
    count(({ service }) => service === "sqs"),
    invocations / per,
    gbSeconds / per,
  ].map((value) => (Number.isInteger(value) ? value : value.toFixed(3)));
  const dollars = (dollarsOf(calls) + lambdaDollars(invocations, gbSeconds)) / per;
  return `| ${name} | ${shown.join(" | ")} | ${dollars.toExponential(2)} |`;
}

const HEAD = `| step | S3 PUT, LIST | S3 GET | write units | read units | SQS | invocations | GB-s | $ |
|---|---|---|---|---|---|---|---|---|`;

class Stage {
  readonly #log: string;
  readonly outputs: StackOutputs;
  readonly store: Store;

  constructor(log: string, outputs: StackOutputs, store: Store) {
    this.#log = log;
    this.outputs = outputs;
    this.store = store;
  }

  /** Does the work, waits until all is applied, and prints what each function and this client asked for. */
  async measure(title: string, per: number, work: () => Promise<void>): Promise<void> {
    await this.settled();
    const before = readInvocations(this.#log).length;
    own.length = 0;
    const start = performance.now();
    await work();
    const client = [...own];
    await this.settled();
    const seconds = ((performance.now() - start) / 1_000).toFixed(1);
    const after = readInvocations(this.#log).slice(before);
    const functions = Map.groupBy(after, ({ service }) => service);
    print(`\n${title} (${per} of them in ${seconds} s; each row for one)\n\n${HEAD}`);
    if (client.length > 0) {
      print(row("client", { calls: client, invocations: 0, gbSeconds: 0 }, per));
    }
    for (const [service, invocations] of functions) print(row(service, totalsOf(invocations), per));
    const { calls, ...rest } = totalsOf(after);
    print(row("**sum**", { calls: [...client, ...calls], ...rest }, per));
  }

  /** Waits until nothing is pending, and looks no more. */
  async settled(): Promise<void> {
    const deadline = Date.now() + WAIT_MS_MAX;
    for (let quiet = 0; quiet < 3; ) {
      if (Date.now() > deadline) throw new Error("not settled in time");
      const status = await this.store.status();
      const pending = status.flatMap(({ shards }) => shards.map((shard) => shard.pending));
      quiet = pending.every((runs) => runs === 0) ? quiet + 1 : 0;
      await sleep(2_000);
    }
  }
}

const print = (text: string) => process.stdout.write(`${text}\n`);

async function uploadPictures(bucket: string): Promise<number> {
  const s3 = new S3Client();
  const names = (await readdir(PICTURES)).filter(isImageName);
  for (const Key of names) {
    const Body = await readFile(join(PICTURES, Key));
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
  }
  s3.destroy();
  return names.length;
}

const record = (id: string) => ({
  id,
  embedding: Array.from({ length: DIMENSION }, (_, index) => Math.sin(index + id.length)),
  document: `document ${id}`,
});

async function main(): Promise<void> {
  const server = await startMinistack({ say: print });
  try {
    Object.assign(process.env, ROOT_ENV, { AWS_ENDPOINT_URL: server.endpoint });
    const outputs = await deployStack({ endpoint: server.endpoint });
    await using store = await openStore(outputs.StoreLocation, {
      instrument: (clients) => meterRequests(clients, (usage) => own.push(usage)),
    });
    const notes = await store.collection("notes", { dimension: DIMENSION });
    const stage = new Stage(server.log, outputs, store);
    const pictures = (await readdir(PICTURES)).filter(isImageName).length;
    await stage.measure("Pictures uploaded in one burst", pictures, async () => {
      await uploadPictures(outputs.UploadsBucket);
      own.length = 0;
      await allIngested(store, pictures);
      own.length = 0;
    });
    for (const writers of [1, AT_ONCE]) {
      const title = `Single records in one burst, ${writers === 1 ? "one writer" : `${writers} writers of one shard at once`}`;
      await stage.measure(title, BURST, () =>
        gathered(async () => {
          const ids = Array.from({ length: BURST }, (_, index) => `burst-${writers}-${index}`);
          const take = ids.values();
          const writer = async () => {
            for (const id of take) await notes.put([record(id)]);
          };
          await Promise.all(Array.from({ length: writers }, writer));
        }),
      );
    }
    await stage.measure("Records in deltas of 1,000, one burst", DELTAS * DELTA_RECORDS, () =>
      gathered(async () => {
        for (let delta = 0; delta < DELTAS; delta++) {
          const ids = Array.from({ length: DELTA_RECORDS }, (_, index) => `bulk-${delta}-${index}`);
          await notes.put(ids.map(record));
        }
      }),
    );
    await stage.measure(
      "Single records one by one, each compacted before the next",
      ONE_BY_ONE,
      async () => {
        for (let index = 0; index < ONE_BY_ONE; index++) {
          const calls = own.length;
          await notes.put([record(`single-${index}`)]);
          const put = own.slice(calls);
          await stage.settled();
          own.length = calls;
          own.push(...put);
        }
      },
    );
    const sweep = { FunctionName: outputs.SweepFunction ?? "" };
    for (const [title, event] of [
      ["Sweeps of an idle store of four collections", {}],
      ["Sweeps that collect, of the same", { collect: true }],
    ] as const) {
      await stage.measure(title, SWEEPS, async () => {
        const lambda = new LambdaClient();
        const Payload = Buffer.from(JSON.stringify(event));
        for (let time = 0; time < SWEEPS; time++) {
          await lambda.send(new InvokeCommand({ ...sweep, Payload }));
        }
        lambda.destroy();
      });
    }
  } finally {
    await stopServer(server);
  }
}

/**
 * The stream is read when the work is done: what AWS's batching windows do, which MiniStack does not
 * have. Without it each record would be a hint and a compaction of its own.
 */
async function gathered(work: () => Promise<void>): Promise<void> {
  const lambda = new LambdaClient();
  try {
    const { EventSourceMappings = [] } = await lambda.send(new ListEventSourceMappingsCommand({}));
    const stream = EventSourceMappings.find(({ EventSourceArn = "" }) =>
      EventSourceArn.includes(":dynamodb:"),
    );
    const UUID = stream?.UUID ?? "";
    await lambda.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: false }));
    await work();
    await lambda.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: true }));
  } finally {
    lambda.destroy();
  }
}

async function allIngested(store: Store, pictures: number): Promise<void> {
  const deadline = Date.now() + WAIT_MS_MAX;
  for (;;) {
    if ((await store.collections()).includes("images")) {
      const images = await store.collection("images");
      const { records } = await images.get({ fresh: true, limit: pictures + 1 });
      if (records.length >= pictures) return;
    }
    if (Date.now() > deadline) throw new Error("pictures not ingested in time");
    await sleep(2_000);
  }
}

await main();
