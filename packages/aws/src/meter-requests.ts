/** What AWS will bill for the calls of a store: requests, bytes and units, as they are made. */
import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import type { AwsClients } from "./aws-clients.ts";

export type AwsService = "s3" | "dynamodb" | "sqs";

/** One call; a call that was tried again is several requests. */
export interface AwsUsage {
  readonly service: AwsService;
  /** E.g. `PutObject`. */
  readonly operation: string;
  readonly requests: number;
  /** Of bodies. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Of DynamoDB, on demand. */
  readonly readUnits: number;
  readonly writeUnits: number;
}

/**
 * Units by the published rules (DynamoDB developer guide, "read and write operations"), since not every
 * API server reckons them: a write unit is 1 KB, a read unit 4 KB read consistently, a transaction takes two.
 */
const WRITE_UNIT_BYTES = 1024;
const READ_UNIT_BYTES = 4096;
const IN_TRANSACTION = 2;
const EVENTUALLY = 0.5;
/** The most that a number takes. */
const NUMBER_BYTES = 21;

type Item = Readonly<Record<string, AttributeValue>>;
type Fields = Readonly<Record<string, unknown>>;

/** Tells every call of the clients, failed ones too. */
export function meterRequests(clients: AwsClients, tell: (usage: AwsUsage) => void): void {
  // Their stacks differ in the types of inputs only, which a meter reads as plain fields.
  const all = [
    ["s3", clients.s3],
    ["dynamodb", clients.dynamo],
    ["sqs", clients.sqs],
  ] as unknown as readonly (readonly [AwsService, { middlewareStack: MiddlewareStack }])[];
  for (const [service, { middlewareStack }] of all) {
    const open = new WeakMap<object, Traffic>();
    middlewareStack.add(callMeter(service, open, tell), { step: "initialize", name: "siltCalls" });
    middlewareStack.add(attemptMeter(open), { step: "deserialize", name: "siltAttempts" });
  }
}

interface Traffic {
  requests: number;
  bytesSent: number;
  bytesReceived: number;
}

interface CallContext {
  readonly commandName?: string;
}

type Handler = (args: { input: Fields; request?: unknown }) => Promise<{
  readonly output?: unknown;
  readonly response?: unknown;
}>;
type Middleware = (next: Handler, context: CallContext) => Handler;

interface MiddlewareStack {
  add(middleware: Middleware, options: { readonly step: string; readonly name: string }): void;
}

/** Around a whole call, with all its attempts. */
function callMeter(
  service: AwsService,
  open: WeakMap<object, Traffic>,
  tell: (usage: AwsUsage) => void,
): Middleware {
  return (next, context) => async (args) => {
    const traffic = { requests: 0, bytesSent: 0, bytesReceived: 0 };
    open.set(context, traffic);
    const operation = (context.commandName ?? "Unknown").replace(/Command$/, "");
    let output: Fields = {};
    try {
      const result = await next(args);
      output = (result.output ?? {}) as Fields;
      return result;
    } finally {
      const units = service === "dynamodb" ? unitsOf(args.input, output, operation) : NO_UNITS;
      tell({ service, operation, ...traffic, ...units });
    }
  };
}

/** Around each attempt. */
function attemptMeter(open: WeakMap<object, Traffic>): Middleware {
  return (next, context) => async (args) => {
    const traffic = open.get(context);
    if (traffic !== undefined) {
      traffic.requests += 1;
      traffic.bytesSent += lengthIn(args.request);
    }
    const result = await next(args);
    // The answer to HEAD says how long the body would be.
    const isHead = (args.request as { method?: string } | undefined)?.method === "HEAD";
    if (traffic !== undefined && !isHead) traffic.bytesReceived += lengthIn(result.response);
    return result;
  };
}

function lengthIn(message: unknown): number {
  const { headers = {} } = (message ?? {}) as { headers?: Record<string, string> };
  return Number(headers["content-length"] ?? 0) || 0;
}

const NO_UNITS = { readUnits: 0, writeUnits: 0 };

function unitsOf(input: Fields, output: Fields, operation: string) {
  const weight = input.ConsistentRead === true ? 1 : EVENTUALLY;
  const read = (items: readonly Item[]) => ({
    writeUnits: 0,
    readUnits: weight * Math.max(1, Math.ceil(sumOf(items) / READ_UNIT_BYTES)),
  });
  switch (operation) {
    case "GetItem":
      return read(output.Item === undefined ? [] : [output.Item as Item]);
    case "Query":
    case "Scan":
      return read((output.Items ?? []) as Item[]);
    case "TransactGetItems": {
      const items = ((output.Responses ?? []) as { Item?: Item }[]).map(({ Item = {} }) => Item);
      const units = items.map((item) => Math.max(1, Math.ceil(bytesOf(item) / READ_UNIT_BYTES)));
      return {
        writeUnits: 0,
        readUnits: IN_TRANSACTION * units.reduce((sum, one) => sum + one, 0),
      };
    }
    case "PutItem":
      return { readUnits: 0, writeUnits: writeUnits(input.Item as Item) };
    case "UpdateItem":
    case "DeleteItem":
      return { readUnits: 0, writeUnits: 1 };
    case "TransactWriteItems": {
      const parts = input.TransactItems as readonly { Put?: { Item: Item } }[];
      const units = parts.map(({ Put }) => (Put === undefined ? 1 : writeUnits(Put.Item)));
      return {
        readUnits: 0,
        writeUnits: IN_TRANSACTION * units.reduce((sum, one) => sum + one, 0),
      };
    }
    default:
      return NO_UNITS;
  }
}

const writeUnits = (item: Item) => Math.max(1, Math.ceil(bytesOf(item) / WRITE_UNIT_BYTES));
const sumOf = (items: readonly Item[]) => items.reduce((sum, item) => sum + bytesOf(item), 0);

/** Of names and values, as DynamoDB counts them. */
function bytesOf(item: Item): number {
  return Object.entries(item).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + valueBytes(value),
    0,
  );
}

function valueBytes(value: AttributeValue): number {
  if (value.S !== undefined) return Buffer.byteLength(value.S);
  if (value.B !== undefined) return value.B.byteLength;
  if (value.N !== undefined) return NUMBER_BYTES;
  if (value.SS !== undefined) return value.SS.reduce((sum, one) => sum + Buffer.byteLength(one), 0);
  return 1;
}
